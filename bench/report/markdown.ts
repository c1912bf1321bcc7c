/** Markdown: tables, and the generated parts of a file. */

/** Escapes the text of a cell: a bar would end the cell. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** Makes a table. Columns after the first `leftColumns` are aligned to the right, for numbers. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  leftColumns = 1,
): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;
  const rule = headings.map((_, column) => (column < leftColumns ? "---" : "--:"));
  return [line(headings), `|${rule.join("|")}|`, ...rows.map(line)].join("\n");
}

/** Makes text that is collapsed under a summary. */
export function details(summary: string, text: string): string {
  return `<details>\n<summary>${summary}</summary>\n\n${text}\n\n</details>`;
}

/**
 * Replaces the text between `<!-- name -->` and `<!-- /name -->`.
 *
 * @throws Error unless each marker occurs once, in this order.
 */
export function replaceMarked(text: string, name: string, content: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const parts = text.split(start);
  const tail = parts[1]?.split(end);
  if (parts.length !== 2 || tail?.length !== 2) {
    throw new Error(`expected ${start} followed by ${end}, once each`);
  }
  return `${parts[0]}${start}\n${content}\n${end}${tail[1]}`;
}
