"""`python -m tui --socket PATH`: the console without the rest of the product."""

import sys

from tui.main import main

if __name__ == "__main__":
    sys.exit(main())
