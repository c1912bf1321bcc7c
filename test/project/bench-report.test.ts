/**
 * The report of the benchmarks: medians over the rounds, ratios within a round, changes between two
 * runs, and the replacement of generated text in hand-written files.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { digits } from "../../bench/figures.ts";
import { movesBetween } from "../../bench/report/compare.ts";
import { replaceMarked, table } from "../../bench/report/markdown.ts";
import { overview, shortOverview } from "../../bench/report/overview.ts";
import { latestSamples, loadFile, loadFolder, seriesOf } from "../../bench/report/series.ts";
import type { Results, Sample } from "../../bench/results.ts";
import { testIf } from "../ffi/tools.ts";

const folder = mkdtempSync(join(tmpdir(), "bench-report-"));
afterAll(() => rmSync(folder, { recursive: true }));

function sample(peer: string, round: number, figures: Sample["figures"]): Sample {
  return { suite: "net", scenario: "send", peer, parameters: { bytes: 1200 }, round, figures };
}

function results(samples: readonly Sample[], startedAt = "2030-01-02T03:04:05Z"): Results {
  return {
    machine: { cpu: "a processor", cores: 3, kernel: "6.0", memoryGiB: 7 },
    versions: { bun: "1.2.3" },
    commit: "abc",
    startedAt,
    command: "npm run bench:net",
    samples,
  };
}

function save(name: string, content: object): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}

/** Three rounds. In the second one, the machine was half as fast as in the first. */
const ROUNDS = [
  sample("datagram-socket", 0, { rate: 4e6 }),
  sample("Bun.udpSocket", 0, { rate: 1e6 }),
  sample("datagram-socket", 1, { rate: 2e6 }),
  sample("Bun.udpSocket", 1, { rate: 0.5e6 }),
  sample("datagram-socket", 2, { rate: 3e6 }),
  sample("Bun.udpSocket", 2, { rate: 1.5e6 }),
];

describe("overview", () => {
  const text = overview(ROUNDS, results(ROUNDS));
  const line = text.split("\n").find((line) => line.includes("sendMany"));

  test("shows medians of the rounds, and the median of the rounds' ratios", () => {
    // 4 is the median of 4, 4 and 2. The ratio of the medians would be 3.
    expect(line).toBe("| send to one peer, `sendMany` | 1 M/s | **3 M/s** |  | 4 |  |");
  });

  test("omits scenarios without samples, and names the machine", () => {
    expect(text).not.toContain("relay");
    expect(text).toContain("a processor, 3 processors, 7 GiB, Linux 6.0; bun 1.2.3; 2030-01-02.");
  });

  test("of README.md has fewer rows than that of bench/README.md", () => {
    const prefix = { suite: "micro", scenario: "prefix, pooled", peer: "headroom" } as const;
    const one: Sample = { ...prefix, parameters: { bytes: 1200 }, round: 0, figures: { ns: 5 } };
    const [short, long] = [shortOverview, overview].map((make) =>
      make([...ROUNDS, one], results(ROUNDS)),
    );
    expect(short).toContain(line as string);
    expect(short).toContain("Linux 6.0, 3 processors, Bun 1.2.3.");
    expect([short, long].map((text) => text?.includes("pooled"))).toEqual([false, true]);
  });

  test("throws if there are no samples", () => {
    expect(() => overview([], results([]))).toThrow("no line");
  });
});

describe("result files", () => {
  test("a series in several files is taken from the most recent run", async () => {
    const [older, newer] = [sample("A", 0, { rate: 1 }), sample("A", 0, { rate: 2 })];
    save("a.json", results([newer], "2031-01-01T00:00:00Z"));
    save("b.json", results([older, sample("B", 0, { rate: 3 })], "2030-01-01T00:00:00Z"));
    const series = seriesOf(latestSamples(await loadFolder(folder)));
    expect(series.map(({ peer, medians }) => [peer, medians.rate])).toEqual([
      ["A", 2],
      ["B", 3],
    ]);
  });

  test.each([
    ["are ignored if there are others", [1, 0, 0], false, 2.5],
    ["are used if there are no others", [1, 1, 1], true, 2],
  ] as const)("samples that are marked as slow %s", (_, slow, isSlow, rate) => {
    const samples = slow.map((mark, i) => sample("A", i, { rate: 1.5 + i / 2, slow: mark }));
    const [series] = seriesOf(samples);
    expect(series).toMatchObject({ isSlow, medians: { rate } });
  });

  test.each([
    ["without results", { samples: 1 }],
    ["with a figure that is not a number", results([sample("A", 0, { rate: Number.NaN })])],
  ])("a file %s is rejected", async (_, content) => {
    const path = save("bad.txt", content);
    await expect(loadFile(path)).rejects.toThrow("expected");
  });

  test("a folder without result files is rejected", async () => {
    await expect(loadFolder(join(folder, "nowhere"))).rejects.toThrow("run the benchmarks first");
  });
});

describe("changes between two runs", () => {
  const rounds = (peer: string, figure: string, values: readonly number[]) =>
    values.map((value, round) => sample(peer, round, { [figure]: value }));

  test.each([
    ["a higher rate as an improvement", "rate", [100, 101, 102], [200, 201, 202], true],
    ["a lower rate as a regression", "rate", [200, 201, 202], [100, 101, 102], false],
    ["a shorter time as an improvement", "p50Us", [200, 201, 202], [100, 101, 102], true],
    [
      "an increase from zero bytes as a regression",
      "bytesAllocated",
      [0, 0, 0],
      [16, 16, 16],
      false,
    ],
  ] as const)("include %s", (_, figure, old, now, isBetter) => {
    const [move, ...others] = movesBetween(rounds("A", figure, old), rounds("A", figure, now));
    expect(others).toEqual([]);
    expect(move).toMatchObject({ figure, old: old[1], new: now[1], isBetter });
  });

  test.each([
    ["a change within the spread of the rounds", "rate", [100, 150, 200], [120, 180, 230]],
    ["a change of 3 %", "rate", [100, 100, 100], [103, 103, 103]],
    ["a figure that the report does not show", "gaugeUs", [1, 1, 1], [9, 9, 9]],
    ["1 MB of memory growth", "memoryGrowthBytes", [-5e5, -5e5], [5e5, 5e5]],
  ] as const)("do not include %s", (_, figure, old, now) => {
    expect(movesBetween(rounds("A", figure, old), rounds("A", figure, now))).toEqual([]);
  });

  test("are listed with the worst first", () => {
    const before = ["A", "B", "C"].flatMap((peer) => rounds(peer, "rate", [100, 100]));
    const after = [
      ...rounds("A", "rate", [150, 150]),
      ...rounds("B", "rate", [50, 50]),
      ...rounds("C", "rate", [80, 80]),
    ];
    expect(movesBetween(before, after).map(({ peer }) => peer)).toEqual(["B", "C", "A"]);
  });
});

describe("markdown", () => {
  test("only the text between the markers is replaced", () => {
    const text = "a\n<!-- x -->\nold\n<!-- /x -->\nb <!-- x: y -->";
    expect(replaceMarked(text, "x", "new")).toBe(
      "a\n<!-- x -->\nnew\n<!-- /x -->\nb <!-- x: y -->",
    );
  });

  test.each(["", "<!-- x -->", "<!-- /x --><!-- x -->", "<!-- x --><!-- x --><!-- /x -->"])(
    "text without exactly one start and one end marker is rejected: %p",
    (text) => {
      expect(() => replaceMarked(text, "x", "")).toThrow("once each");
    },
  );

  test("a vertical bar in a table cell is escaped", () => {
    expect(table(["a", "b"], [["x|y", "1"]])).toBe("| a | b |\n|---|--:|\n| x\\|y | 1 |");
  });

  test.each([
    [0, "0"],
    [0.00004, "0"],
    [0.03456, "0.035"],
    [1.996, "2"],
    [12.34, "12.3"],
    [1234.5, "1,235"],
  ])("%p is formatted as %s", (value, text) => expect(digits(value)).toBe(text));
});

const hasVega = existsSync(join(import.meta.dir, "../../bench/node_modules/vega"));

testIf(hasVega ? undefined : "vega is not installed (npm install --prefix bench)")(
  "the same results produce identical plots, with light and dark colours",
  async () => {
    const [readme, tables] = [join(folder, "README.md"), join(folder, "tables.md")];
    const marked = (name: string) => `<!-- ${name} --><!-- /${name} -->\n`;
    writeFileSync(readme, marked("figures"));
    writeFileSync(tables, ["figures", "figures: targets", "figures: all"].map(marked).join(""));
    const folders = ["first", "second"].map((name) => join(folder, name));
    const samples = [...ROUNDS, sample("Deno.listenDatagram", 0, { rate: 7.25e6 })];
    const resultsFolder = mkdtempSync(join(folder, "results-"));
    writeFileSync(join(resultsFolder, "net.json"), JSON.stringify(results(samples)));
    for (const plots of folders) {
      const main = join(import.meta.dir, "../../bench/report/main.ts");
      const from = ["--results", resultsFolder];
      const to = ["--readme", readme, "--tables", tables, "--plots", plots];
      const { exitCode, stderr } = Bun.spawnSync([process.execPath, main, ...from, ...to]);
      expect(stderr.toString()).toBe("");
      expect(exitCode).toBe(0);
    }
    const [first, second] = folders.map((plots) =>
      readFileSync(join(plots, "throughput.svg"), "utf8"),
    );
    expect(first).toBe(second as string);
    expect(first).toContain(">7.25</text>");
    expect(first).toContain("prefers-color-scheme: dark");
    // npm shows the README of a package, and finds images only by absolute URLs.
    const images = readFileSync(readme, "utf8").match(/!\[.*/g);
    expect(images).toEqual([
      expect.stringMatching(/\(https:\/\/\S+\/bench\/plots\/throughput\.svg\)/),
    ]);
    const text = readFileSync(tables, "utf8");
    expect(text).toContain("(second/throughput.svg)");
    expect(text).toContain("| Deno.listenDatagram | 1,200 bytes | 7.25 |");
  },
);
