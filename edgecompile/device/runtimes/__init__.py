"""How smoke.py opens an artifact: a file an engine, `runtime.py` in the bundle.

Each has PACKAGES, what pip installs, and a class Runtime: making it imports the runtime and tells
its `version`; `open` returns a function from a feed to the outputs by name, 0 threads = all; it
`emulates` where its time says nothing of the device.
"""
