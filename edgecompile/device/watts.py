"""How many joules this machine takes while it works: read by smoke.py, needs Python 3.9 alone.

A meter is what can say watts, or count joules:

  pmic           a Raspberry Pi 5's power chip (vcgencmd pmic_read_adc): the board without its USB
  ina219         an INA219, INA226, INA3221 or kin that is wired to the board's supply, as Linux
                 shows it (hwmon or iio); ina219:/sys/class/hwmon/hwmon3 names one of several
  rapl           an Intel or AMD CPU's own counter (powercap): the CPU's package, not the board
  /dev/ttyUSB0   a USB meter's serial line, @9600 behind it for another speed than 115200
  command:WORDS  a program that prints watts, for example command:my-meter --watts

A line of the last two is a sample: a number alone is watts; of several, the one before "W" or "mW".
"""

import contextlib
import glob
import os
import re
import shlex
import subprocess
import threading
import time

PMIC_SLOPE, PMIC_CONSTANT_W = 1.1451, 0.5879
"""Board W = 1.1451 x sum of rails + 0.5879: fitted to a USB meter by jfikar (github.com/jfikar/
RPi5-power, README); pitop.hongjunwu.com/guide/power uses the same."""
RAIL = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=([\d.]+)[AV]\s*$", re.MULTILINE)
ALONE = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*")
BEFORE_W = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*(m?)W(?![A-Za-z])")
INTERVAL_S = 0.1
SILENCE_S = 5.0
"""A line meter that says nothing for so long is not believed any more."""


def pmic_watts(text):
    """Return the board's watts from what `vcgencmd pmic_read_adc` prints.

    Rails with both a current and a voltage count; EXT5V and BATT have no current.
    """
    rails = {}
    for name, kind, value in RAIL.findall(text):
        rails.setdefault(name, {})[kind] = float(value)
    whole = [rail for rail in rails.values() if len(rail) == 2]
    if not whole:
        raise OSError("vcgencmd pmic_read_adc names no rail")
    return PMIC_SLOPE * sum(rail["A"] * rail["V"] for rail in whole) + PMIC_CONSTANT_W


def line_watts(line):
    """Return the watts that a line of a meter says, None if it says none."""
    alone = ALONE.fullmatch(line)
    if alone:
        return float(alone[1])
    found = BEFORE_W.search(line)
    return float(found[1]) / (1000 if found[2] else 1) if found else None


def read(path):
    """Return a file's text."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()


class Pmic:
    """A Raspberry Pi 5's power chip."""

    what = "board, by the Pi 5's PMIC, fit of jfikar/RPi5-power"

    def watts(self):
        """Ask the firmware: some 10 ms."""
        command = ["vcgencmd", "pmic_read_adc"]
        done = subprocess.run(command, capture_output=True, timeout=5, check=False)
        return pmic_watts(done.stdout.decode(errors="replace"))


class Ina:
    """A current and voltage sensor of TI's INA family, by its folder in /sys."""

    def __init__(self, folder):
        """Keep the folder."""
        self.folder = folder
        self.what = f"what is wired to the {read(os.path.join(folder, 'name'))}"

    def number(self, name):
        """Return a file's number."""
        return float(read(os.path.join(self.folder, name)))

    def watts(self):
        """Read power if the driver tells it, else volts x amperes.

        hwmon: power1_input in uW, in1_input (the bus) in mV, curr1_input in mA (kernel,
        Documentation/hwmon/ina2xx.rst, ina3221.rst); iio: raw x scale, power in mW (iio ABI).
        """
        if os.path.exists(os.path.join(self.folder, "power1_input")):
            return self.number("power1_input") / 1e6
        if os.path.exists(os.path.join(self.folder, "in_power2_raw")):
            return self.number("in_power2_raw") * self.number("in_power2_scale") / 1e3
        return self.number("in1_input") * self.number("curr1_input") / 1e6


class Rapl:
    """The energy counters of the CPU's packages; they wrap at max_energy_range_uj."""

    what = "the CPU's package, by RAPL; memory, disk and supply not counted"

    def __init__(self, zones):
        """Keep each zone's last count."""
        self.ranges = {z: int(read(os.path.join(z, "max_energy_range_uj"))) for z in zones}
        self.last = {zone: self.count(zone) for zone in zones}
        self.total_uj = 0

    @staticmethod
    def count(zone):
        """Return a zone's counter, uJ."""
        return int(read(os.path.join(zone, "energy_uj")))

    def joules(self):
        """Return the joules since the start; called more often than a counter wraps (minutes)."""
        for zone, before in self.last.items():
            self.last[zone] = now = self.count(zone)
            self.total_uj += (now - before) % (self.ranges[zone] + 1)
        return self.total_uj / 1e6


class Lines:
    """A meter that sends lines: the last one holds."""

    def __init__(self, what, file, process=None):
        """Listen to a binary file."""
        self.what, self.file, self.process = what, file, process
        self.value, self.heard = None, time.perf_counter()
        self.some = threading.Event()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()
        if not self.some.wait(SILENCE_S):
            self.close()
            raise OSError(f"says no watts in {SILENCE_S:.0f} s")

    def listen(self):
        """Keep the last line's watts, until the meter is unplugged or ended: watts() tells."""
        with self.file, contextlib.suppress(OSError):
            for line in self.file:
                value = line_watts(line.decode(errors="replace"))
                if value is not None:
                    self.value, self.heard = value, time.perf_counter()
                    self.some.set()

    def watts(self):
        """Return the last line's, if it is not too old."""
        if time.perf_counter() - self.heard > SILENCE_S:
            raise OSError(f"has said nothing for {SILENCE_S:.0f} s")
        return self.value

    def close(self):
        """End the program that prints."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.listener.join()


def open_serial(path, speed):
    """Open a serial port raw, at a speed in bits a second."""
    import termios
    import tty

    port = os.open(path, os.O_RDONLY | os.O_NOCTTY)
    tty.setraw(port)
    settings = termios.tcgetattr(port)
    settings[4] = settings[5] = getattr(termios, f"B{speed}")
    termios.tcsetattr(port, termios.TCSANOW, settings)
    return os.fdopen(port, "rb", buffering=0)


def find_ina(root="/sys"):
    """Return the folders of INA sensors, hwmon's first."""
    names = glob.glob(f"{root}/class/hwmon/hwmon*/name")
    names += glob.glob(f"{root}/bus/iio/devices/iio:device*/name")
    return [os.path.dirname(n) for n in sorted(names) if read(n).startswith("ina")]


def find_rapl(root="/sys"):
    """Return the folders of the packages' counters."""
    names = sorted(glob.glob(f"{root}/class/powercap/intel-rapl:*/name"))
    return [os.path.dirname(name) for name in names if read(name).startswith("package")]


def open_pmic(_rest):
    """Return the PMIC, once it has answered."""
    meter = Pmic()
    meter.watts()
    return meter


def open_rapl(_rest):
    """Return the packages' counters."""
    zones = find_rapl()
    if not zones:
        raise OSError("no /sys/class/powercap/intel-rapl:* here")
    return Rapl(zones)


def open_ina(folder):
    """Return the sensor in a folder, or the only one, once it has answered."""
    found = [folder] if folder else find_ina()
    if len(found) != 1:
        raise OSError(f"{len(found)} INA sensors here; name one: ina219:/sys/class/hwmon/...")
    meter = Ina(found[0])
    meter.watts()
    return meter


def open_command(text):
    """Return a program that prints lines."""
    words = shlex.split(text)
    if not words:
        raise ValueError("command: names no program")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    return Lines(f"what is behind '{words[0]}'", process.stdout, process)


def open_port(text):
    """Return the meter at a serial port: /dev/ttyUSB0 or /dev/ttyUSB0@9600."""
    path, _, speed = text.partition("@")
    return Lines(f"what is behind the meter at {path}", open_serial(path, speed or "115200"))


KINDS = {"pmic": open_pmic, "rapl": open_rapl, "ina219": open_ina, "command": open_command}


def find(source):
    """Return the meter that a source means, None for "off"; "auto" takes pmic or rapl, if any.

    Raises OSError or ValueError where the meter is not there or cannot be read.
    """
    if source in ("off", "auto"):
        for kind in ("pmic", "rapl") if source == "auto" else ():
            try:
                return KINDS[kind]("")
            except (OSError, ValueError, subprocess.SubprocessError):
                continue
        return None
    if source.startswith("/dev/"):
        return open_port(source)
    kind, _, rest = source.partition(":")
    if kind not in KINDS:
        raise ValueError("known: auto, off, pmic, ina219, rapl, /dev/tty..., command:...")
    return KINDS[kind](rest)


class Record:
    """Joules since the start, sampled in a thread: [(seconds, joules), ...]."""

    def __init__(self, meter):
        """Begin."""
        self.meter, self.curve, self.error = meter, [], None
        self.stopped = threading.Event()
        self.last_w = None
        self.sample()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def sample(self):
        """Add a point: a counter's own, or the trapezoid under two readings of watts."""
        if hasattr(self.meter, "joules"):
            joules, now = self.meter.joules(), time.perf_counter()
        else:
            watts, now = self.meter.watts(), time.perf_counter()
            joules = 0.0
            if self.curve:
                before, so_far = self.curve[-1]
                joules = so_far + (now - before) * (watts + self.last_w) / 2
            self.last_w = watts
        self.curve.append((now, joules))

    def run(self):
        """Sample until stopped; a meter that fails ends it."""
        while not self.stopped.wait(INTERVAL_S):
            try:
                self.sample()
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                self.error = error
                return

    def stop(self):
        """End, with a last sample."""
        self.stopped.set()
        self.thread.join()
        if self.error is not None:
            raise OSError(f"{self.error}")
        self.sample()

    def joules(self, start, end):
        """Return the joules between two times of time.perf_counter()."""
        return at(self.curve, end) - at(self.curve, start)


def at(curve, when):
    """Return a curve's value at a time, straight lines between its points, flat outside."""
    before = curve[0]
    for point in curve:
        if point[0] >= when:
            if point[0] == before[0]:
                return point[1]
            share = max(0.0, (when - before[0]) / (point[0] - before[0]))
            return before[1] + share * (point[1] - before[1])
        before = point
    return before[1]


def measure(meter, work, windows=5, window_s=2.0, idle_s=3.0):
    """Return joules of one call of work(), and watts idle and at work.

    The machine idles, then works in windows of at least `window_s` seconds: `joules` is that of all
    windows by their calls, `low` and `high` those of the lowest and highest window.
    """
    try:
        return measure_windows(meter, work, windows, window_s, idle_s)
    finally:
        if hasattr(meter, "close"):
            meter.close()


def measure_windows(meter, work, windows, window_s, idle_s):
    """Do what measure() says."""
    record = Record(meter)
    idle_start = time.perf_counter()
    time.sleep(idle_s)
    marks = [(time.perf_counter(), 0)]
    for _ in range(windows):
        calls = 0
        while time.perf_counter() - marks[-1][0] < window_s:
            work()
            calls += 1
        marks.append((time.perf_counter(), calls))
    record.stop()
    begin, end = marks[0][0], marks[-1][0]
    each = [
        record.joules(before, now) / calls for (before, _), (now, calls) in zip(marks, marks[1:])
    ]
    total, calls = record.joules(begin, end), sum(mark[1] for mark in marks)
    return {
        "joules": total / calls,
        "low": min(each),
        "high": max(each),
        "watts": total / (end - begin),
        "idle_watts": record.joules(idle_start, begin) / (begin - idle_start),
        "inferences": calls,
        "seconds": end - begin,
        "samples": len(record.curve),
        "meter": meter.what,
        "kind": "measured",
    }
