"""Compile a transformer for small machines: smaller, faster, and proven to answer the same.

The Python interface has the command line's shape: `build`, `check`, `verify`, `sign`, `pack`,
`rebuild`, `diff`, `write_report`. See edgecompile.api.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecompile.api import build, check, diff, pack, rebuild, sign, verify, write_report

__all__ = ["__version__", "build", "check", "diff", "pack", "rebuild", "sign", "verify"]
__all__ += ["write_report"]
__version__ = "0.1.0"
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime's 1.32 for Linux looks up mobile.events.data.microsoft.com soon after it opened a
session, and keeps a database in ~/.cache/Microsoft. Told before it is imported, it does not."""


def __getattr__(name: str) -> Any:
    """Import the interface when it is asked for: `import edgecompile` alone is instant."""
    if name not in __all__:
        msg = f"module 'edgecompile' has no attribute '{name}'"
        raise AttributeError(msg)
    from edgecompile import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
