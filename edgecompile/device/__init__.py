"""Programs that go to the device as they are: Python 3.9, numpy and the runtime alone."""
