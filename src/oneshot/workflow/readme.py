"""The README's table of questions, generated from the catalogue: `python -m oneshot.workflow.readme`."""

from oneshot.files import project_root, write_text
from oneshot.workflow import catalogue

BEGIN, END = "<!-- generated from config/figures.yaml by `make readme` -->", "<!-- end of the generated table -->"


def table(entries: dict[str, dict]) -> str:
    """One row per figure or table: question, file, notebooks, command, minutes."""
    lines = ["| question | figure or table | notebooks | command | minutes |", "| --- | --- | --- | --- | --- |"]
    for name, entry in entries.items():
        file = f"`figures/laptop/{name}.{catalogue.ENDINGS[entry['kind']][0]}`"
        notebooks = ", ".join(f"[{notebook}](notebooks/{notebook}.ipynb)" for notebook in entry["notebooks"])
        lines.append(f"| {entry['claim']} | {file} | {notebooks} | `make figure F={name}` | {entry['minutes']} |")
    return "\n".join(lines)


def with_table(text: str, entries: dict[str, dict]) -> str:
    """The README with its generated part replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(entries)}\n{END}{after}"


def main() -> None:
    path = project_root() / "README.md"
    entries = catalogue.load(project_root() / "config/figures.yaml").entries
    write_text(with_table(path.read_text(), entries), path)


if __name__ == "__main__":
    main()
