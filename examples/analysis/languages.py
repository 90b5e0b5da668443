"""Which language a file is in, by its name and then by its first line."""

from pathlib import PurePosixPath

_BY_EXTENSION = {
    "Assembly": "asm s",
    "Batch": "bat cmd",
    "C": "c h",
    "C#": "cs",
    "C++": "cc cpp cxx hh hpp hxx inl",
    "Clojure": "clj cljc cljs",
    "CSS": "css less sass scss",
    "CSV": "csv tsv",
    "Dart": "dart",
    "Diff": "diff patch",
    "Elixir": "ex exs",
    "Erlang": "erl hrl",
    "Fortran": "f f90 f95",
    "Go": "go",
    "Haskell": "hs",
    "HTML": "htm html jinja j2 vue svelte",
    "INI": "cfg conf ini properties",
    "Java": "java",
    "JavaScript": "cjs js jsx mjs",
    "JSON": "json json5 jsonl",
    "Julia": "jl",
    "Kotlin": "kt kts",
    "Lua": "lua",
    "Markdown": "md mdx",
    "Nix": "nix",
    "OCaml": "ml mli",
    "Perl": "pl pm",
    "PHP": "php",
    "PowerShell": "ps1 psm1",
    "Protocol Buffers": "proto",
    "Python": "py pyi pyw",
    "R": "r",
    "reStructuredText": "rst",
    "Ruby": "gemspec rake rb",
    "Rust": "rs",
    "Scala": "sc scala",
    "Shell": "bash bats fish ksh sh zsh",
    "SQL": "sql",
    "SVG": "svg",
    "Swift": "swift",
    "TeX": "sty tex",
    "Terraform": "tf tfvars",
    "Text": "txt",
    "TOML": "toml",
    "TypeScript": "cts mts ts tsx",
    "XML": "xml xsd xsl",
    "YAML": "yaml yml",
    "Zig": "zig",
}
_BY_NAME = {
    "cmakelists.txt": "CMake",
    "containerfile": "Dockerfile",
    "dockerfile": "Dockerfile",
    "gemfile": "Ruby",
    "gnumakefile": "Makefile",
    "makefile": "Makefile",
    "rakefile": "Ruby",
}
_BY_INTERPRETER = {
    "awk": "Awk",
    "bash": "Shell",
    "dash": "Shell",
    "deno": "TypeScript",
    "fish": "Shell",
    "gawk": "Awk",
    "ksh": "Shell",
    "lua": "Lua",
    "node": "JavaScript",
    "perl": "Perl",
    "php": "PHP",
    "pypy": "Python",
    "python": "Python",
    "rscript": "R",
    "ruby": "Ruby",
    "sh": "Shell",
    "zsh": "Shell",
}
_LANGUAGES = {f".{extension}": name for name, extensions in _BY_EXTENSION.items() for extension in extensions.split()}
_FIRST_LINE_MAX = 256
OTHER = "Other"


def language_of(path: str, text: str) -> str:
    name = PurePosixPath(path).name.lower()
    known = _BY_NAME.get(name) or _LANGUAGES.get(PurePosixPath(name).suffix)
    return known or _by_shebang(text) or OTHER


def _by_shebang(text: str) -> str | None:
    if not text.startswith("#!"):
        return None
    words = text[2:_FIRST_LINE_MAX].partition("\n")[0].split()
    if words and words[0].endswith("/env"):
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    program = words[0].rpartition("/")[2] if words else ""
    return _BY_INTERPRETER.get(program.rstrip("0123456789.").lower())
