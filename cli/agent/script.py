"""The commands that stand in a tree of bash's grammar, with the words that they are given.

Only nodes that are named here are taken, and each word is looked at once more: where the grammar may have
read something in another way than bash does, it raises Unknown.
"""

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cli.agent.words import ANYTHING, KINDS, Kind, Simple, Unknown, Word
from cli.agent.wrappers import assigned

if TYPE_CHECKING:
    from tree_sitter import Node

MOST = 2000
GROUPS = {
    *("program", "list", "pipeline", "subshell", "compound_statement", "negated_command"),
    *("if_statement", "elif_clause", "else_clause", "while_statement", "do_group"),
    *("case_statement", "case_item"),
}
SUBSTITUTIONS = {"command_substitution", "process_substitution"}
# What stands between their parts is text.
MIXED = {"string", "heredoc_body", "heredoc_redirect"}
WORDS = {
    *("word", "number", "variable_name", "raw_string", "string", "concatenation", "ansi_c_string"),
    *("simple_expansion", "expansion", "arithmetic_expansion", "brace_expression", "extglob_pattern"),
    *SUBSTITUTIONS,
}
CONDITIONS = {"binary_expression", "unary_expression", "parenthesized_expression", "negated_expression"}
# Within [[ ]] these compute, and what is computed may run commands: a[$(…)].
COMPUTING = {"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"}
# `${x:-…}` and cutting off; not `${!x}`, `${x@P}`, `${x:=…}` or `${x[…]}`, which compute or set.
CUTS = {"${", "}", ":-", "-", ":+", "+", "#", "##", "%", "%%", "/", "//"}
ACTIVE = re.compile(r"[$`\"'<>|;&() \t\n]")
SPECIAL = re.compile(r"[*?\[]")
DELIMITER = re.compile(r"(?P<quote>['\"]?)(?P<name>[A-Za-z0-9_.!%+-]+)(?P=quote)|\\(?P<bare>[A-Za-z0-9_]+)")


@dataclass
class Script:
    """One pass through a tree: `simples` are the commands as they stand in it."""

    simples: list[Simple] = field(default_factory=list)

    def statement(self, node: "Node") -> None:
        match node.type:
            case "command":
                self.command(node)
            case "redirected_statement":
                self.redirected(node)
            case "function_definition":
                self.function(node)
            case "for_statement":
                self.loop(node)
            case "test_command":
                self.condition(node)
            case "variable_assignment" | "variable_assignments":
                each = [node] if node.type == "variable_assignment" else node.named_children
                self.add(Simple(sets=tuple(map(self.assignment, each))))
            case "declaration_command" | "unset_command":
                self.declaration(node)
            case "comment":
                self.comment(node)
            case kind if kind in GROUPS and node.children and node.children[0].type != "((":
                for child in node.named_children:
                    self.statement(child)
            case "program":  # an empty line
                return
            case kind if kind in WORDS:  # of a loop or a case
                self.word(node)
            case _:
                raise Unknown("a part of it is not understood")

    def add(self, simple: Simple) -> None:
        self.simples.append(simple)
        if len(self.simples) > MOST:
            raise Unknown("it runs too many commands")

    def command(self, node: "Node") -> None:
        words, sets, reads, writes, end = list[Word](), list[str](), list[Word](), list[Word](), -1
        for child in node.children:
            if child.type == "variable_assignment":
                sets.append(self.assignment(child))
            elif child.type == "file_redirect":
                words += self.redirect(child, reads, writes)
            elif child.type == "herestring_redirect":
                self.words(child)
            elif child.start_byte == end:
                raise Unknown("a part of it is not understood")
            else:
                words.append(self.word(child.children[0] if child.type == "command_name" else child))
                end = child.end_byte
        self.add(Simple(tuple(words), tuple(reads), tuple(writes), tuple(sets)))

    def redirected(self, node: "Node") -> None:
        """The files of a group are those of a command without words beside it."""
        words, reads, writes, before = list[Word](), list[Word](), list[Word](), len(self.simples)
        body = node.child_by_field_name("body")
        if body is not None:
            self.statement(body)
        place = len(self.simples) - 1
        for child in node.named_children:
            if child.type == "file_redirect":
                words += self.redirect(child, reads, writes)
            elif child.type == "heredoc_redirect":
                self.heredoc(child, reads, writes)
            elif child.type == "herestring_redirect":
                self.words(child)
            elif child != body:
                self.comment(child)
        if body is None or body.type != "command" or place < before:
            if words:
                raise Unknown("words stand behind a redirection")
            self.add(Simple(reads=tuple(reads), writes=tuple(writes)))
            return
        here = self.simples[place]
        self.simples[place] = replace(
            here,
            words=(*here.words, *words),
            reads=(*here.reads, *reads),
            writes=(*here.writes, *writes),
        )

    def redirect(self, node: "Node", reads: list[Word], writes: list[Word]) -> list[Word]:
        """Notes the file. The grammar takes words behind it for more files: they are the command's."""
        operator, *rest = (child for child in node.children if child.type != "file_descriptor")
        found = [self.word(child) for child in rest]
        if operator.type in ("<&-", ">&-") or not found:
            return found
        file, same = found[0], operator.type.endswith("&")
        if not (same and file.kind == "literal" and re.fullmatch(r"\d+-?|-", file.text)):
            (reads if operator.type in ("<", "<&") else writes).append(file)
        return found[1:]

    def heredoc(self, node: "Node", reads: list[Word], writes: list[Word]) -> None:
        quoted, name = False, ""
        for child in node.named_children:
            match child.type:
                case "heredoc_start":
                    found = DELIMITER.fullmatch(text(child))
                    if not found:
                        raise Unknown("the end of a here-document is not plain")
                    quoted, name = bool(found["quote"] or found["bare"]), found["name"] or found["bare"]
                case "heredoc_body":
                    self.document(child, quoted, name)
                case "heredoc_end":
                    if text(child) != name:
                        raise Unknown("the end of a here-document is not plain")
                case "file_redirect":
                    if self.redirect(child, reads, writes):
                        raise Unknown("words stand behind a redirection")
                case kind if kind in WORDS:
                    raise Unknown("words stand behind a redirection")
                case _:
                    self.statement(child)

    def document(self, node: "Node", quoted: bool, name: str) -> None:
        if any(line.strip() == name for line in text(node).split("\n")):
            raise Unknown("the end of a here-document is not plain")
        if quoted:
            return
        left, at = b"", node.start_byte
        for child in node.named_children:
            if child.type != "heredoc_content":
                self.word(child)
                left += (node.text or b"")[at - node.start_byte : child.start_byte - node.start_byte]
                at = child.end_byte
        left += (node.text or b"")[at - node.start_byte :]
        if re.search(rb"[`$]", left):
            raise Unknown("a here-document runs something")

    def function(self, node: "Node") -> None:
        for child in node.named_children:
            if child != node.child_by_field_name("name"):
                self.statement(child)

    def loop(self, node: "Node") -> None:
        variable = node.child_by_field_name("variable")
        if variable is None:
            raise Unknown("a loop computes")
        self.add(Simple(sets=(text(variable),)))
        for child in node.named_children:
            if child != variable:
                self.statement(child)

    def condition(self, node: "Node") -> None:
        """`[ … ]` and `[[ … ]]` run nothing but what is substituted in them."""
        computes = node.children[0].type == "[["
        if node.children[0].type not in ("[", "[["):
            raise Unknown("it computes")
        for child in node.named_children:
            self.expression(child, computes)

    def expression(self, node: "Node", computes: bool) -> None:
        if node.type in CONDITIONS:
            operators = {text(child) for child in node.children if child.type == "test_operator"}
            if operators & (COMPUTING if computes else {"-v", "-R"}):
                raise Unknown("a condition computes")
            for child in node.named_children:
                self.expression(child, computes)
        elif node.type == "regex":
            if re.search(r"[`$]\S", text(node)):
                raise Unknown("a condition computes")
        elif node.type != "test_operator":
            self.word(node)

    def declaration(self, node: "Node") -> None:
        """`export`, `declare` and their like; `-i`, `-n` and `-f` make more of a name than a value."""
        keyword, *rest = node.children
        words, sets = [Word(text(keyword))], list[str]()
        for child in rest:
            if child.type == "variable_assignment":
                sets.append(self.assignment(child))
                continue
            word = Word(text(child)) if child.type == "variable_name" else self.word(child)
            if word.kind != "literal" or (word.text.startswith("-") and not set(word.text) <= set("-xrgaAp")):
                raise Unknown(f"{text(keyword)} says more than a value")
            if name := assigned(word):
                sets.append(name)
            words.append(word)
        self.add(Simple(tuple(words), sets=tuple(sets)))

    def assignment(self, node: "Node") -> str:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or name.type != "variable_name":
            raise Unknown("a place in a list is set")
        if value is not None:
            self.words(value) if value.type == "array" else self.word(value)
        return text(name)

    def comment(self, node: "Node") -> None:
        """Within a substitution bash may see its end where the grammar does not."""
        if node.type != "comment":
            raise Unknown("a part of it is not understood")
        before = node.prev_sibling
        adjacent = before is not None and before.is_named and before.end_byte == node.start_byte
        if adjacent or (nested(node) and re.search(r"[)`]", text(node))):
            raise Unknown("a comment hides a part of it")

    def words(self, node: "Node") -> list[Word]:
        return [self.word(child) for child in node.named_children]

    def word(self, node: "Node") -> Word:
        said = text(node)
        match node.type:
            case "word" | "number" | "variable_name" | "extglob_pattern":
                return bare(said)
            case "raw_string":
                return Word(said[1:-1])
            case "string":
                return self.string(node)
            case "concatenation":
                return self.joined(node)
            case "process_substitution":
                self.substitution(node)
                return Word("/dev/fd/63", "glob")
            case "command_substitution":
                self.substitution(node)
                return ANYTHING
            case "ansi_c_string" | "brace_expression" | "simple_expansion":
                return Word(said, "unknown")
            case "expansion":
                return self.expansion(node)
            case "arithmetic_expansion":
                if not re.fullmatch(r"\$\(\([\d\s+*/%-]*\)\)", said):
                    raise Unknown("it computes")
                return Word(said, "unknown")
        raise Unknown("a part of it is not understood")

    def string(self, node: "Node") -> Word:
        parts = node.named_children
        kinds = [self.word(each).kind for each in parts if each.type != "string_content"]
        plain = "".join(text(each) for each in parts if each.type == "string_content")
        if re.search(r"(?<!\\)(?:\\\\)*(?:`|\$[\w({\"'@*#?$!-])", plain):
            raise Unknown("a part of it is not understood")
        said = re.sub(r"\\([$`\"\\])", r"\1", text(node)[1:-1])
        return Word(said, "unknown" if kinds else "literal")

    def joined(self, node: "Node") -> Word:
        parts = self.words(node)
        if len(parts) != len(node.children):
            raise Unknown("a part of it is not understood")
        kind = max((part.kind for part in parts), key=KINDS.index)
        braces = any(child.type == "word" and "{" in text(child) for child in node.children)
        if braces and re.search(r",|\.\.", text(node)):
            kind = "unknown"
        return Word("".join(part.text for part in parts), kind)

    def substitution(self, node: "Node") -> None:
        """The commands within. Between backticks a backslash means something else."""
        said = text(node)
        if said.startswith("`") and "\\" in said:
            raise Unknown("a backslash stands between backticks")
        for child in node.named_children:
            if child.type == "file_redirect":  # $(<file)
                reads, writes = list[Word](), list[Word]()
                if self.redirect(child, reads, writes):
                    raise Unknown("words stand behind a redirection")
                self.add(Simple(reads=tuple(reads), writes=tuple(writes)))
            else:
                self.statement(child)

    def expansion(self, node: "Node") -> Word:
        for child in node.children:
            if not child.is_named and child.type not in CUTS:
                raise Unknown("it computes")
            if child.type == "regex":
                bare(re.sub(r"[()|]", "", text(child)))
            elif child.is_named and child.type not in ("variable_name", "special_variable_name"):
                self.word(child)
        return Word(text(node), "unknown")


def bare(said: str) -> Word:
    """A word without quotes; what bash would act on in it was read in another way than bash does."""
    plain = re.sub(r"\\.", "", said, flags=re.DOTALL)
    if ACTIVE.search(plain) or plain.endswith("\\"):
        raise Unknown("a part of it is not understood")
    kind: Kind = "glob" if SPECIAL.search(plain) or said.startswith("~") else "literal"
    if "{" in plain and re.search(r",|\.\.", plain):
        kind = "unknown"
    return Word(re.sub(r"\\(.)", r"\1", said), kind)


def nested(node: "Node") -> bool:
    above = node.parent
    while above is not None and above.type not in SUBSTITUTIONS:
        above = above.parent
    return above is not None


def text(node: "Node") -> str:
    return (node.text or b"").decode(errors="replace")
