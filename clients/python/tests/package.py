"""Builds wheel and source distribution, and looks into them: what a person installs is complete and has nothing else.

python tests/package.py DIRECTORY
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def main() -> None:
    out = Path(sys.argv[1]) / "dist"
    subprocess.run([sys.executable, "-m", "build", "--outdir", out, ROOT], check=True, capture_output=True)
    wheel = zipfile.ZipFile(max(out.glob("pg_stash-*.whl")))
    names = set(wheel.namelist())
    modules = {f"pg_stash/{path.name}" for path in (ROOT / "src" / "pg_stash").glob("*.py")}
    assert modules <= names, modules - names
    assert "pg_stash/py.typed" in names
    info = next(name for name in names if name.endswith(".dist-info/METADATA"))
    metadata = wheel.read(info).decode()
    required = sorted(
        line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra" not in line
    )
    assert required == ["Requires-Dist: psycopg-pool>=3.2", "Requires-Dist: psycopg>=3.1.8"], required
    extras = {line.split()[1] for line in metadata.splitlines() if line.startswith("Provides-Extra:")}
    assert {"binary", "cachelib", "django", "dogpile", "flask"} == extras, extras
    assert not [name for name in names if not name.startswith(("pg_stash/", "pg_stash-"))]
    with tarfile.open(max(out.glob("pg_stash-*.tar.gz"))) as archive:
        source = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "tests/conftest.py",
        *(f"src/{name}" for name in modules),
    } <= source
    print(f"  {len(modules)} modules, requires psycopg and its pool")


if __name__ == "__main__":
    main()
