"""The frozen program's first line of Python."""

import sys

from mailbox_app.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
