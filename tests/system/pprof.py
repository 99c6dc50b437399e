# SPDX-License-Identifier: Apache-2.0
"""A reader of profile.proto of its own, independent of lib/profile: what the tests believe is what this reads.

Strict: a field number or wire type that profile.proto does not have is an error, so is a reference to nothing."""
import gzip
import re


class BadProfile(Exception):
    pass


class Function:
    __slots__ = ("id", "name", "system_name", "file", "start_line")


class Mapping:
    __slots__ = ("id", "start", "limit", "offset", "file", "build_id", "has_functions", "has_filenames",
                 "has_line_numbers", "has_inline_frames")


class Location:
    __slots__ = ("id", "mapping", "address", "lines", "is_folded")

    @property
    def names(self):
        """Innermost first; the last one is the function that is not inlined."""
        return [function.name for function, _ in self.lines]


class Sample:
    __slots__ = ("locations", "values", "labels", "profile")

    @property
    def count(self):
        return self.values[0]

    @property
    def names(self):
        """All functions of the stack, leaf first, inlined ones included."""
        return [name for location in self.locations for name in location.names]

    @property
    def broken(self):
        """Why the walk of the stack ended before the thread's first function; None if it did not."""
        root = self.locations[-1].names[-1] if self.locations else ""
        return root[len("[broken: "):-1] if root.startswith("[broken: ") else None

    @property
    def n_elided(self):
        """How many frames were left out in its middle."""
        found = [re.fullmatch(r"\[(\d+) frames elided\]", location.names[0]) for location in self.locations
                 if not location.mapping and location.lines]
        return sum(int(f[1]) for f in found if f)

    @property
    def is_kernel_only(self):
        """There was no user stack: an exit, an exec, a kernel thread."""
        return all(location.mapping and location.mapping.file == "[kernel.kallsyms]" for location in self.locations)

    @property
    def frames(self):
        """(name, file, line) of the stack, leaf first, inlined ones included."""
        return [(f.name, f.file, line) for location in self.locations for f, line in location.lines]

    def first_of(self, names):
        """Which of these is nearest to the leaf, by plain name, or None."""
        for name in self.names:
            plain = plain_name(name)
            if plain in names:
                return plain
        return None


def plain_name(name):
    """The last word of a qualified name: `work::Mixer<int>::beta(unsigned long) const`, `main.(*mixer).beta` and
    `main.beta[go.shape.int]` are beta."""
    name = re.sub(r"\[.+\]$", "", name.replace("(anonymous namespace)", "anonymous"))
    if "(" in name and ".(" not in name and not name.startswith("("):
        name = name.split("(")[0]
    while "<" in name and name.endswith(">"):
        name = name[:name.index("<")]
    return name.replace("::", ".").rsplit(".", 1)[-1]


def _varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise BadProfile("varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data):
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
            value, at = data[at:at + size], at + size
            if at > len(data):
                raise BadProfile("length")
        else:
            raise BadProfile(f"wire type {wire}")
        yield number, value


def _signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


def _numbers(value):
    """A repeated number, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    result, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        result.append(_signed(number))
    return result


def _message(data, names):
    """Fields by name; names: number -> name, "[]name" for repeated ones."""
    result = {}
    for number, value in _fields(data):
        name = names.get(number)
        if name is None:
            raise BadProfile(f"unknown field {number}")
        if name.startswith("[]"):
            result.setdefault(name[2:], []).append(value)
        else:
            result[name] = _signed(value) if isinstance(value, int) else value
    return result


class Profile:
    def __init__(self, raw, path=None):
        self.path = path
        data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        top = _message(data, {1: "[]sample_type", 2: "[]sample", 3: "[]mapping", 4: "[]location", 5: "[]function",
                              6: "[]string", 7: "drop", 8: "keep", 9: "time", 10: "duration", 11: "period_type",
                              12: "period", 13: "[]comment", 14: "default_type", 15: "doc"})
        self.strings = [s.decode("utf-8") for s in top.get("string", [])]
        if not self.strings or self.strings[0] != "":
            raise BadProfile("the first string is not empty")
        string = self._string
        value_type = lambda m: tuple(string(_message(m, {1: "t", 2: "u"}).get(k, 0)) for k in "tu")
        self.sample_types = [value_type(m) for m in top.get("sample_type", [])]
        self.period_type = value_type(top.get("period_type", b""))
        self.period = top.get("period", 0)
        self.time_nsec = top.get("time", 0)
        self.duration_nsec = top.get("duration", 0)
        self.default_sample_type = string(top.get("default_type", 0))
        self.comments = [string(n) for value in top.get("comment", []) for n in _numbers(value)]
        self.functions, self.mappings, self.locations = {}, {}, {}
        for m in top.get("function", []):
            m = _message(m, {1: "id", 2: "name", 3: "system", 4: "file", 5: "start"})
            f = Function()
            f.id, f.name, f.system_name = m["id"], string(m.get("name", 0)), string(m.get("system", 0))
            f.file, f.start_line = string(m.get("file", 0)), m.get("start", 0)
            self._once(self.functions, f)
        for m in top.get("mapping", []):
            m = _message(m, {1: "id", 2: "start", 3: "limit", 4: "offset", 5: "file", 6: "build_id", 7: "functions",
                             8: "filenames", 9: "lines", 10: "inlines"})
            p = Mapping()
            p.id, p.start, p.limit, p.offset = m["id"], m.get("start", 0), m.get("limit", 0), m.get("offset", 0)
            p.file, p.build_id = string(m.get("file", 0)), string(m.get("build_id", 0))
            p.has_functions, p.has_filenames = bool(m.get("functions")), bool(m.get("filenames"))
            p.has_line_numbers, p.has_inline_frames = bool(m.get("lines")), bool(m.get("inlines"))
            p.start &= (1 << 64) - 1
            p.limit &= (1 << 64) - 1
            self._once(self.mappings, p)
        for m in top.get("location", []):
            m = _message(m, {1: "id", 2: "mapping", 3: "address", 4: "[]line", 5: "folded"})
            location = Location()
            location.id, location.address = m["id"], m.get("address", 0) & (1 << 64) - 1
            location.is_folded = bool(m.get("folded"))
            location.mapping = self._get(self.mappings, m["mapping"]) if m.get("mapping") else None
            location.lines = []
            for line in m.get("line", []):
                line = _message(line, {1: "function", 2: "line", 3: "column"})
                location.lines.append((self._get(self.functions, line["function"]), line.get("line", 0)))
            self._once(self.locations, location)
        self.samples = []
        for m in top.get("sample", []):
            m = _message(m, {1: "[]location", 2: "[]value", 3: "[]label"})
            sample = Sample()
            sample.profile = self
            sample.locations = [self._get(self.locations, n) for v in m.get("location", []) for n in _numbers(v)]
            sample.values = [n for v in m.get("value", []) for n in _numbers(v)]
            if len(sample.values) != len(self.sample_types):
                raise BadProfile("a sample with a value too few or too many")
            sample.labels = {}
            for label in m.get("label", []):
                label = _message(label, {1: "key", 2: "str", 3: "num", 4: "unit"})
                key = string(label["key"])
                if key in sample.labels:
                    raise BadProfile(f"two labels {key}")
                sample.labels[key] = string(label["str"]) if label.get("str") else label.get("num", 0)
            self.samples.append(sample)

    def _string(self, number):
        if not 0 <= number < len(self.strings):
            raise BadProfile(f"string {number}")
        return self.strings[number]

    @staticmethod
    def _once(table, thing):
        if thing.id <= 0 or thing.id in table:
            raise BadProfile(f"id {thing.id} twice, or none")
        table[thing.id] = thing

    @staticmethod
    def _get(table, number):
        if number not in table:
            raise BadProfile(f"nothing has the id {number}")
        return table[number]

    @classmethod
    def load(cls, path):
        with open(path, "rb") as f:
            return cls(f.read(), path)

    @property
    def n_samples(self):
        return sum(sample.count for sample in self.samples)

    @property
    def cpu_nsec(self):
        return sum(sample.values[1] for sample in self.samples)
