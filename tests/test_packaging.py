"""The wheel holds `resexp` and `resexp_cli` and nothing named `cli`; the console script points into it."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_wheel_holds_the_two_packages_and_no_other(tmp_path: Path) -> None:
    build = f"import hatchling.build as b; b.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"resexp", "resexp_cli"}
    assert "resexp/py.typed" in names
    assert "resexp/experiments/variance.py" in names
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "resexp = resexp_cli.main:main" in zipfile.ZipFile(wheel).read(entry_points).decode()
