# SPDX-License-Identifier: Apache-2.0
"""Change the policy code in some two thousand ways, one at a time, and list those that no test notices.

mutmut (https://mutmut.readthedocs.io) leaves out whatever is decorated, and in this package that is much of what
decides: `Decision.allowed`, `Policies.sandbox`, the models' validators. So the run is over a copy of the tree, in which
the body of each such method stands in a plain function that the method calls.

Ends with status 1 where docs/mutants.md does not name a survivor. Options are `mutmut run`'s, as `--max-children 1`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import libcst as cst

ROOT = Path(__file__).parents[1]
COPY = ROOT / "mutants"
NEEDED = ("src", "tests", "docs", "pyproject.toml")
POLICIES = "src/cloister/policies"
LEFT_OUT = {"property", "field_validator", "model_validator"}


class Bare(cst.CSTTransformer):
    """Moves the bodies of decorated methods into functions at the end of their module."""

    def __init__(self) -> None:
        self.functions: list[cst.FunctionDef] = []
        self._classes: list[str] = []

    def visit_ClassDef(self, node: cst.ClassDef) -> None:  # noqa: N802 - libcst calls it by this name
        self._classes.append(node.name.value)

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:  # noqa: N802, ARG002
        self._classes.pop()
        return updated_node

    def leave_FunctionDef(  # noqa: N802
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        if not LEFT_OUT & {_name_of(decorator) for decorator in original_node.decorators}:
            return updated_node
        name = f"bare_{'_'.join(self._classes).lower()}_{original_node.name.value.strip('_')}"
        arguments = ", ".join(parameter.name.value for parameter in original_node.params.params)
        bare = updated_node.with_changes(name=cst.Name(name), decorators=[], leading_lines=[cst.EmptyLine()])
        self.functions.append(bare)
        call = cst.parse_statement(f"return {name}({arguments})")
        return updated_node.with_changes(body=cst.IndentedBlock([call]))


def _name_of(decorator: cst.Decorator) -> str:
    named = decorator.decorator
    named = named.func if isinstance(named, cst.Call) else named
    return named.value if isinstance(named, cst.Name) else ""


def prepare() -> None:
    """Make the copy afresh: mutmut would otherwise keep its verdicts where only a test has changed."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, COPY / name)
    for path in sorted((COPY / POLICIES).rglob("*.py")):
        bare = Bare()
        module = cst.parse_module(path.read_text(encoding="utf-8")).visit(bare)
        path.write_text(module.with_changes(body=[*module.body, *bare.functions]).code, encoding="utf-8")


def mutmut(*arguments: str, show: bool = False) -> str:
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    done = subprocess.run(command, cwd=COPY, check=True, text=True, stdout=None if show else subprocess.PIPE)
    return done.stdout or ""


def main() -> int:
    prepare()
    mutmut("run", *sys.argv[1:], show=True)
    survivors = re.findall(r"^ *cloister\.policies\.(\S+): (.+)$", mutmut("results"), re.MULTILINE)
    explained = set(re.findall(r"`([a-z_.]+\.x\S+__mutmut_\d+)`", (ROOT / "docs/mutants.md").read_text("utf-8")))
    for name, verdict in survivors:
        print(f"\n{name}: {verdict}{'' if name in explained else ', NOT EXPLAINED in docs/mutants.md'}")
        lines = mutmut("show", f"cloister.policies.{name}").splitlines()
        print("\n".join(line for line in lines if re.match(r"[-+] ", line)))
    unexplained = [name for name, _ in survivors if name not in explained]
    print(
        f"\n{len(survivors)} changes that no test notices, {len(unexplained)} of them not explained in docs/mutants.md"
    )
    for name in sorted(explained - {name for name, _ in survivors}):
        print(f"docs/mutants.md explains {name}, which does not survive")
    return 1 if unexplained else 0


if __name__ == "__main__":
    raise SystemExit(main())
