"""The configuration: one TOML file, typed, where a mistake is answered with file, line and key.

`schema` is its shape (the docstring under a field is the field's manual), `load` reads and checks it, `paths` says where
things lie on disk, `edit` changes one key and keeps the comments, `manual` holds the field docstrings for a frozen
build. Only `load` is needed by the running server; `edit` and tomlkit are imported by those who change the file.
"""
