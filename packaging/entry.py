"""The frozen program's first line of Python."""

from mailbox_app.cli.main import main

if __name__ == "__main__":
    main()
