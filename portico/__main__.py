"""`python3 -m portico`: the command line, from a bare checkout as well."""

from __future__ import annotations

try:
    from portico.cli.main import main

    status = main()
except KeyboardInterrupt:
    # Ctrl+C while the modules were still being imported: 128 + SIGINT, as shells have it.
    status = 130
raise SystemExit(status)
