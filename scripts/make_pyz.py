"""Writes Portico as one file, which any Python from 3.11 on runs: `python3 portico.pyz site`.

    python3 scripts/make_pyz.py [FILE]

FILE is portico.pyz in the current folder if it is not given.
"""

from __future__ import annotations

import sys
import tempfile
import zipapp
from pathlib import Path
from shutil import copytree, ignore_patterns

REPOSITORY = Path(__file__).resolve().parent.parent


def make(target: Path) -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "portico"
        copytree(REPOSITORY / "portico", package, ignore=ignore_patterns("__pycache__"))
        (Path(folder) / "__main__.py").write_text("import portico.__main__\n")
        zipapp.create_archive(folder, target, "/usr/bin/env python3", compressed=True)


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "portico.pyz"))
