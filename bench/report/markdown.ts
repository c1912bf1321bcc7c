/** Markdown: tables, and the marked parts of a file that are made by a program. */

/** A cell's text: a bar would end the cell. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** A table; columns after the first `leftColumns` are numbers, to the right. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  leftColumns = 1,
): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;
  const rule = headings.map((_, column) => (column < leftColumns ? "---" : "--:"));
  return [line(headings), `|${rule.join("|")}|`, ...rows.map(line)].join("\n");
}

/** Text behind a line that opens it. */
export function details(summary: string, text: string): string {
  return `<details>\n<summary>${summary}</summary>\n\n${text}\n\n</details>`;
}

/**
 * Replaces what lies between `<!-- name -->` and `<!-- /name -->`.
 *
 * @throws Error when the two are not there, each once and in this order.
 */
export function replaceMarked(text: string, name: string, content: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const parts = text.split(start);
  const rest = parts[1]?.split(end);
  if (parts.length !== 2 || rest?.length !== 2) {
    throw new Error(`expected ${start} and ${end} behind it, once each`);
  }
  return `${parts[0]}${start}\n${content}\n${end}${rest[1]}`;
}
