# SPDX-License-Identifier: Apache-2.0
"""No message may contain itself: the decoder recurses without a limit."""

import re

import common

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[A-Za-z_][\w.]*|\S')


def parse(text):
    """{package.message: [(type name, line)]} of one file, nested ones too."""
    text = common.code(text, keep_strings=True)
    package = re.search(r"^\s*package\s+([\w.]+)\s*;", text, re.MULTILINE)
    top = [package.group(1)] if package else []
    messages = {}
    stack = []  # names of open blocks; None for oneof, enum and the like
    statement = []
    for match in _TOKEN.finditer(text):
        token = match.group(0)
        if token == "{":
            name = None
            if statement[:1] == ["message"] and len(statement) > 1:
                name = ".".join(top + stack_names(stack) + [statement[1]])
                messages[name] = []
                name = statement[1]
            stack.append(name)
            statement = []
        elif token == "}":
            if stack:
                stack.pop()
            statement = []
        elif token == ";":
            owner = ".".join(top + stack_names(stack))
            if owner in messages:
                line = text.count("\n", 0, match.start()) + 1
                messages[owner] += [(word, line) for word in field(statement)]
            statement = []
        else:
            statement.append(token)
    return messages


def stack_names(stack):
    return [name for name in stack if name is not None]


def field(statement):
    """Type names of "repeated T name = 1" or "map<K, V> name = 1"."""
    words = [w for w in statement
             if w not in ("repeated", "optional", "required")]
    if not words or words[0] in ("reserved", "option", "extensions"):
        return []
    if words[0] == "map":
        return [w for w in words[1:words.index(">")] if w[0].isalpha()]
    return words[:1]


def resolve(messages, owner, name):
    """The message that `name` means inside `owner`, or None."""
    name = name.lstrip(".")
    scope = owner.split(".")
    while True:
        full = ".".join(scope + [name])
        if full in messages:
            return full
        if not scope:
            return None
        scope.pop()


def check(report, where, messages):
    """Reports each field through which a message reaches itself."""
    def reaches(start, goal, seen):
        if start == goal:
            return True
        if start in seen:
            return False
        seen.add(start)
        return any(reaches(to, goal, seen) for to in edges(start))

    def edges(name):
        targets = (resolve(messages, name, t) for t, _ in messages[name])
        return [t for t in targets if t is not None]

    for owner in sorted(messages):
        for type_name, line in messages[owner]:
            target = resolve(messages, owner, type_name)
            if target is not None and reaches(target, owner, set()):
                report.add(where[owner], line,
                           f"message {owner} contains itself through "
                           f"{type_name}", owner)


def main():
    report, _ = common.start("proto")
    messages = {}
    where = {}
    for path in common.files(report.root, (".proto",)):
        report.look_at(path)
        for name, fields in parse(common.read(report.root, path)).items():
            messages[name] = fields
            where[name] = path
    check(report, where, messages)
    report.finish()


if __name__ == "__main__":
    main()
