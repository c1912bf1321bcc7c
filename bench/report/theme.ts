/** The look of plots: one drawing with a transparent background, for light and dark pages. */

import type { Config } from "vega-lite";

/** Colours that differ between light and dark pages. */
const INK = { light: "#1f2328", dark: "#e6edf3" };
const FAINT = { light: "#d1d9e0", dark: "#3d444d" };

/** Colours of marks, with enough contrast to both white and black. */
export const OURS = "#e8590c";
export const OURS_ALSO = "#f2a154";
export const OTHERS = "#4a90d9";
export const LIMIT = "#868e96";

export const THEME: Config = {
  background: "transparent",
  font: "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: INK.light,
    titleColor: INK.light,
    titleFontWeight: "normal",
    domainColor: FAINT.light,
    gridColor: FAINT.light,
    tickColor: FAINT.light,
    labelFontSize: 11,
    titleFontSize: 11,
  },
  header: { labelColor: INK.light, titleColor: INK.light, labelFontSize: 12 },
  legend: { labelColor: INK.light, titleColor: INK.light, labelFontSize: 11 },
  text: { color: INK.light, fontSize: 10 },
  title: { color: INK.light, fontSize: 13, anchor: "start" },
};

/**
 * Adds a title and a style sheet for dark pages, whose rules override colour attributes. Removes
 * ARIA roles, so that screen readers read the title instead of hundreds of lines and marks.
 */
export function finish(svg: string, title: string): string {
  const rules = [INK, FAINT].flatMap(({ light, dark }) =>
    ["fill", "stroke"].map((property) => `[${property}="${light}"]{${property}:${dark}}`),
  );
  const style = `<style>@media (prefers-color-scheme: dark){${rules.join("")}}</style>`;
  const plain = svg.replaceAll(/ (role|aria-[a-z]+)="[^"]*"/g, "");
  const end = plain.indexOf(">") + 1;
  return `${plain.slice(0, end)}<title>${title}</title>${style}${plain.slice(end)}\n`;
}
