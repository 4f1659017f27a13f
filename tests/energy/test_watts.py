"""watts.py, the bundle's meters: real formats, a real serial line, sums that can be checked."""

import importlib.util
import os
import sys
import threading
import time
import tty
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "edgecompile" / "device" / "watts.py"
PMIC = """\
 3V7_WL_SW_A current(0)=0.09466522A
   3V3_SYS_A current(1)=0.08197812A
  VDD_CORE_A current(7)=1.11625000A
 3V7_WL_SW_V volt(8)=3.62925200V
   3V3_SYS_V volt(9)=3.31652900V
  VDD_CORE_V volt(15)=0.74944980V
     EXT5V_V volt(24)=5.08530000V
      BATT_V volt(25)=0.00000000V
"""
"""What a Pi 5's `vcgencmd pmic_read_adc` prints, without some rails."""
RAILS_W = 0.09466522 * 3.629252 + 0.08197812 * 3.316529 + 1.11625 * 0.7494498


@pytest.fixture(scope="module")
def watts() -> ModuleType:
    """Return the module as smoke.py loads it: from its file."""
    spec = importlib.util.spec_from_file_location("watts", SOURCE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, **texts: object) -> Path:
    """Write a folder of small files, as /sys has them."""
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def test_it_needs_the_standard_library_alone() -> None:
    """It runs on the board."""
    lines = [line.split() for line in SOURCE.read_text().splitlines()]
    imported = {words[1] for words in lines if words[:1] in (["import"], ["from"])}
    assert imported <= set(sys.stdlib_module_names)


def test_the_pmic_counts_rails_that_have_both_and_applies_the_fit(watts: ModuleType) -> None:
    """EXT5V and the battery have no current; the fit adds what the rails do not see."""
    assert watts.pmic_watts(PMIC) == pytest.approx(1.1451 * RAILS_W + 0.5879)
    with pytest.raises(OSError, match="names no rail"):
        watts.pmic_watts("Command not registered")


def test_the_pmic_is_asked_by_vcgencmd(
    watts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program on the PATH is run; without it, "auto" finds no such meter."""
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\n[ "$1" = pmic_read_adc ] && cat <<E\n{PMIC}E\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert watts.find("auto").watts() == pytest.approx(1.1451 * RAILS_W + 0.5879)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"name": "ina219", "power1_input": 4520000, "in1_input": 5080, "curr1_input": 1}, 4.52),
        ({"name": "ina3221", "in1_input": 5080, "curr1_input": 890}, 5.08 * 0.89),
        ({"name": "ina219", "in_power2_raw": 226, "in_power2_scale": 20}, 4.52),
    ],
    ids=["hwmon-power", "hwmon-volts", "iio"],
)
def test_ina_sensors(
    watts: ModuleType, tmp_path: Path, files: dict[str, object], expected: float
) -> None:
    """UW, mV x mA, or raw x scale in mW, as the kernel's documentation says."""
    folder = write(tmp_path / "hwmon0", **files)
    assert watts.find(f"ina219:{folder}").watts() == pytest.approx(expected)


def test_rapl_counts_over_its_wrap(watts: ModuleType, tmp_path: Path) -> None:
    """Two packages are added; a counter that starts again has not gone back."""
    zones = [
        write(tmp_path / f"intel-rapl:{n}", energy_uj=900_000, max_energy_range_uj=999_999)
        for n in range(2)
    ]
    meter = watts.Rapl([str(zone) for zone in zones])
    (zones[0] / "energy_uj").write_text("100000\n")
    (zones[1] / "energy_uj").write_text("950000\n")
    assert meter.joules() == pytest.approx(0.2 + 0.05)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("4.52", 4.52),
        (" 4520 mW\r\n", 4.52),
        ("5.08 V 0.89 A 4.52 W", 4.52),
        ("2024-01-01 12:00:00 V=5.08 P=4.52W", 4.52),
        ("12 Wh", None),
        ("voltage 5.08", None),
        ("", None),
    ],
)
def test_lines_of_meters(watts: ModuleType, line: str, expected: float | None) -> None:
    """A number alone, or the one before W; watt-hours and volts are no watts."""
    assert watts.line_watts(line) == expected


def test_a_serial_line(watts: ModuleType) -> None:
    """A real terminal line is read raw, whatever its speed."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    done = threading.Event()

    def send() -> None:
        while not done.wait(0.02):
            os.write(ours, b"5.01 V 0.60 A 3.00 W\r\n")

    sender = threading.Thread(target=send)
    sender.start()
    meter = watts.find(f"{os.ttyname(theirs)}@9600")
    try:
        assert meter.watts() == 3.0
    finally:
        done.set()
        sender.join()
        os.close(theirs)
        os.close(ours)  # unplugged
        meter.listener.join(10)
    assert not meter.listener.is_alive()


def test_a_program_that_prints_watts(watts: ModuleType, tmp_path: Path) -> None:
    """It runs without a shell, and is ended with the measurement."""
    program = tmp_path / "meter.py"
    program.write_text("import time\nwhile 1:\n print('2.5 W', flush=True)\n time.sleep(0.01)\n")
    meter = watts.find(f"command:{sys.executable} {program}")
    done = watts.measure(meter, lambda: time.sleep(0.01), 2, 0.1, 0.1)
    assert done["watts"] == pytest.approx(2.5)
    assert meter.process.returncode is not None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("magic", "known: auto"),
        ("pmic", "vcgencmd"),
        ("/dev/none", "No such file"),
        ("command:", "names no program"),
    ],
)
def test_a_meter_that_is_not_there(watts: ModuleType, source: str, words: str) -> None:
    """Said, not guessed."""
    with pytest.raises((OSError, ValueError), match=words):
        watts.find(source)


class Ramp:
    """A meter whose watts grow by 10 a second: its integral is known."""

    what = "a ramp"

    def __init__(self) -> None:
        """Begin at 0."""
        self.start = time.perf_counter()

    def watts(self) -> float:
        """Return the watts now."""
        return 10 * (time.perf_counter() - self.start)


def test_the_integral_of_a_ramp(watts: ModuleType) -> None:
    """The trapezoid is exact for straight lines, between samples too: J = 5 (t2^2 - t1^2)."""
    curve = [(t, 5 * t * t) for t in (0.0, 1.0, 2.0)]
    assert watts.at(curve, 1.5) == pytest.approx((5 + 20) / 2)
    assert watts.at(curve, -1.0) == 0.0
    assert watts.at(curve, 9.0) == 20.0
    meter = Ramp()
    record = watts.Record(meter)
    time.sleep(0.5)
    record.stop()
    (first, _), (last, joules) = record.curve[0], record.curve[-1]
    area = 5 * ((last - meter.start) ** 2 - (first - meter.start) ** 2)
    assert joules == pytest.approx(area, rel=0.02)


class Steady:
    """A meter that always says 4 W."""

    what = "four watts"

    @staticmethod
    def watts() -> float:
        """Return them."""
        return 4.0


def test_joules_are_watts_times_seconds(watts: ModuleType) -> None:
    """All windows agree where the watts are steady; idle and work are told apart by time."""
    done = watts.measure(Steady(), lambda: time.sleep(0.01), 3, 0.1, 0.1)
    assert done["joules"] == pytest.approx(4.0 * done["seconds"] / done["inferences"])
    assert done["watts"] == pytest.approx(4.0)
    assert done["idle_watts"] == pytest.approx(4.0)
    assert done["low"] <= done["joules"] <= done["high"]


class Unplugged(Steady):
    """A meter that answers twice."""

    count = 0

    def watts(self) -> float:  # type: ignore[override]
        """Fail from the third time on."""
        self.count += 1
        if self.count > 2:
            msg = "unplugged"
            raise OSError(msg)
        return 4.0


def test_a_meter_that_fails_on_the_way(watts: ModuleType) -> None:
    """No number is made up of what is left."""
    with pytest.raises(OSError, match="unplugged"):
        watts.measure(Unplugged(), lambda: time.sleep(0.05), 3, 0.2, 0.2)
