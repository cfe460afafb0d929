"""The checks, one file each; `CHECKS` lists their classes in the order records show them."""
