"""Run pyright and prove that it looked at every package.

    python scripts/check_types.py

A wrong `include` pattern makes pyright analyse nothing and report success, so the exit code alone proves
little.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run pyright, print what it found, and compare the number of files it read with the tree."""
    expected = sum(1 for _ in ROOT.glob("packages/*/src/**/*.py"))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    for found in report["generalDiagnostics"]:
        line = found["range"]["start"]["line"] + 1 if "range" in found else 1
        message = f"{found['severity']}: {found['message']} ({found.get('rule', '')})"
        print(f"{Path(found['file']).relative_to(ROOT)}:{line}: {message}")
    analysed = report["summary"]["filesAnalyzed"]
    print(f"{analysed} files analysed, {expected} expected, {report['summary']['errorCount']} errors")
    if analysed < expected:
        print("pyright missed files: check `include` under [tool.pyright]", file=sys.stderr)
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
