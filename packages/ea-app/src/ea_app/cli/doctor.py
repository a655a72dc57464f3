"""`ea-app doctor`."""

import argparse

from ea_app.api.diagnosis import examine


def run(arguments: argparse.Namespace) -> int:
    """Print what was examined; returns 1 if something does not work."""
    healthy = True
    for finding in examine(arguments.model or "default"):
        healthy &= finding.works
        if not (arguments.quiet and finding.works):
            print(f"{'ok  ' if finding.works else 'FAIL'}  {finding.subject:<10} {finding.detail}")
    return 0 if healthy else 1
