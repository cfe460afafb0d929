"""`python -m mailbox_app`: the command line, also for a program that starts itself."""

import sys

from mailbox_app.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
