/** Draws plots as SVG, without a browser. The same measurements give the same bytes. */

import { parse, View } from "vega";
import { compile } from "vega-lite";
import type { Plot } from "./plots.ts";
import { finish, THEME } from "./theme.ts";

/** The plot's SVG, for light and dark pages. */
export async function draw({ title, spec }: Plot): Promise<string> {
  const { spec: compiled } = compile({ ...spec, title, config: THEME });
  const svg = await new View(parse(compiled), { renderer: "none" }).toSVG();
  return finish(svg, title);
}
