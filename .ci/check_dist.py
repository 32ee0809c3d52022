"""Checks what the wheel and the sdist in a folder hold, against the checkout; builds nothing."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BESIDES = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def wheel_content(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def main(from_sdist: Path, from_tree: Path) -> None:
    """Exit with words unless both wheels are equal and hold the package alone."""
    (wheel,) = from_sdist.glob("*.whl")
    (other,) = from_tree.glob("*.whl")
    (sdist,) = from_sdist.glob("*.tar.gz")
    content = wheel_content(wheel)
    if content != wheel_content(other):
        sys.exit("the wheel made from the sdist differs from the one made from the checkout")

    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "neogate_lab").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"
    wanted = package | {f"{info}/{name}" for name in BESIDES}
    if set(content) != wanted:
        sys.exit(f"the wheel should hold other files: {sorted(set(content) ^ wanted)}")
    if "neogate_lab/py.typed" not in content:
        sys.exit("the wheel lacks py.typed: type checkers would not look into it")

    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    lacking = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", *package} - names
    if lacking or not any(name.startswith("tests/") for name in names):
        sys.exit(f"the sdist lacks {sorted(lacking) or 'the tests'}")
    print(f"{wheel.name}: {len(content)} files; {sdist.name}: {len(names)} files")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
