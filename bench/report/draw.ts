/** Draws plots as SVG without a browser. Equal results give equal bytes. */

import { parse, View } from "vega";
import { compile } from "vega-lite";
import type { Plot } from "./plots.ts";
import { finish, THEME } from "./theme.ts";

/** Returns the SVG of a plot, for light and dark pages. */
export async function draw({ title, spec }: Plot): Promise<string> {
  const { spec: compiled } = compile({ ...spec, title, config: THEME });
  const svg = await new View(parse(compiled), { renderer: "none" }).toSVG();
  return finish(svg, title);
}
