"""Tell what this board is, as one line of JSON.

Its own Python runs it: python3 - < look.py numpy onnxruntime
Standard library, Python 3.6 or newer: an older board, too, is told what it lacks.
"""

import json
import os
import platform
import struct
import subprocess
import sys

CPU = "/sys/devices/system/cpu/cpu0/cpufreq/"


def read(path):
    """Return a small file's text, "" where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read(1 << 16).strip("\0\n ")
    except OSError:
        return ""


def ask(*command):
    """Return what a command prints, "" where it is missing or fails."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def cpuinfo(*keys):
    """Return the first of some values in /proc/cpuinfo."""
    for line in read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def temperature():
    """Return the hottest thermal zone in degrees Celsius, or None."""
    zones = [read("/sys/class/thermal/thermal_zone%d/temp" % number) for number in range(8)]
    degrees = [int(zone) / 1000 for zone in zones if zone.lstrip("-").isdigit()]
    return max(degrees) if degrees else None


def throttled():
    """Return a Raspberry Pi's flags (vcgencmd get_throttled), or None."""
    key, _, value = ask("vcgencmd", "get_throttled").partition("=")
    try:
        return int(value, 16) if key == "throttled" else None
    except ValueError:
        return None


def version_of(package):
    """Return an installed package's version, "" where it is missing."""
    try:
        from importlib import metadata

        return metadata.version(package)
    except ImportError:
        return ""


def free_bytes():
    """Return what is free on the disk of the working directory."""
    disk = os.statvfs(".")
    return disk.f_bavail * disk.f_frsize


print(
    json.dumps(
        {
            "python": platform.python_version(),
            "bits": struct.calcsize("P") * 8,
            "isa": platform.machine(),
            "board": read("/proc/device-tree/model") or cpuinfo("model name") or platform.node(),
            "features": cpuinfo("Features", "flags"),
            "cores": os.cpu_count() or 1,
            "governor": read(CPU + "scaling_governor"),
            "temperature_c": temperature(),
            "throttled": throttled(),
            "free_bytes": free_bytes(),
            "packages": {name: version_of(name) for name in sys.argv[1:]},
        }
    )
)
