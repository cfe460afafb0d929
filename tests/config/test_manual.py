"""config/manual.py is made from the docstrings under the schema's fields. Run this file to make it again."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import mailbox_app.config.schema as schema_module

SCHEMA = Path(str(schema_module.__file__))
MANUAL = SCHEMA.with_name("manual.py")
HEAD = '''"""What every setting means: the docstrings of schema.py, kept here because a frozen build has no source.

Made by tests/config/test_manual.py; change schema.py instead.
"""
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from collections.abc import Mapping

MANUAL: Mapping[str, str] = {
'''


def generate() -> str:
    """The text of config/manual.py."""
    classes = {
        node.name: node
        for path in sorted(SCHEMA.parent.glob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    lines = [HEAD]
    for section, type_name, _ in documented(classes["Config"]):
        lines.append(f"    {quoted(section)}: {quoted(ast.get_docstring(classes[type_name]) or '')},\n")
        lines.extend(
            f"    {quoted(f'{section}.{name}')}: {quoted(doc)},\n" for name, _, doc in documented(classes[type_name])
        )
    return "".join([*lines, "}\n"])


def documented(node: ast.ClassDef) -> list[tuple[str, str, str]]:
    """(field, its annotation, its docstring) of a class."""
    found = []
    for field, doc in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            found.append(
                (ast.unparse(field.target), ast.unparse(field.annotation), " ".join(str(doc.value.value).split()))
            )
    return found


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def test_every_field_has_a_manual() -> None:
    namespace: dict[str, object] = {}
    exec(compile(generate(), "manual", "exec"), namespace)
    manual = namespace["MANUAL"]
    assert isinstance(manual, dict)
    for section in schema_module.Config.__struct_fields__:
        assert manual[section]
    assert all(manual.values())


def test_the_manual_is_in_step_with_the_schema() -> None:
    assert MANUAL.read_text() == generate()


if __name__ == "__main__":
    MANUAL.write_text(generate())
