/**
 * Checks the built site: every internal link, anchor and image exists; pages load in a browser
 * without errors, in both colour schemes, and fit a phone. Saves screenshots in
 * .vitepress/screenshots. The browser is Chromium, or that of the variable CHROMIUM.
 */

import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium } from "playwright-core";

const SITE = join(import.meta.dir, ".vitepress/dist");
const SCREENSHOTS = join(import.meta.dir, ".vitepress/screenshots");

/** Pages that the browser opens: the start page, text with code and tables, diagrams, reference. */
const BROWSED = ["/", "/readme", "/errors", "/readiness", "/api/index/classes/UdpSocket"];
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

interface Page {
  readonly links: readonly string[];
  readonly anchors: ReadonlySet<string>;
}

/** Returns the file of a path of the site, or undefined: "/errors" is errors.html. */
function fileOf(path: string, files: ReadonlySet<string>): string | undefined {
  const name = decodeURIComponent(path).replace(/^\//, "");
  const candidates = [name, `${name}.html`, `${name.replace(/\/$/, "")}/index.html`, "index.html"];
  return candidates.slice(0, name === "" ? 4 : 3).find((file) => files.has(file));
}

/** Reads the link targets and the anchors of a page. */
async function readPage(file: string): Promise<Page> {
  const links: string[] = [];
  const anchors = new Set<string>();
  const collect = (name: string) => ({
    element(element: HTMLRewriterTypes.Element) {
      const target = element.getAttribute(name);
      if (target !== null) links.push(target);
    },
  });
  const rewriter = new HTMLRewriter()
    .on("a[href]", collect("href"))
    .on("img[src]", collect("src"))
    .on("[id]", {
      element(element) {
        anchors.add(element.getAttribute("id") as string);
      },
    });
  await rewriter.transform(new Response(Bun.file(join(SITE, file)))).text();
  return { links, anchors };
}

/** Returns a line for each link of the site that leads nowhere. */
async function brokenLinks(): Promise<string[]> {
  const files = new Set(readdirSync(SITE, { recursive: true }).map(String));
  const pages = new Map<string, Page>();
  for (const file of files) if (file.endsWith(".html")) pages.set(file, await readPage(file));
  console.log(`${pages.size} pages`);
  const broken: string[] = [];
  for (const [file, { links }] of pages) {
    for (const link of links) {
      const url = new URL(link.replaceAll("&amp;", "&"), `http://site/${file}`);
      if (url.host !== "site") continue;
      const target = fileOf(url.pathname, files);
      const anchor = decodeURIComponent(url.hash.slice(1));
      const isFound =
        target !== undefined && (anchor === "" || pages.get(target)?.anchors.has(anchor));
      if (!isFound) broken.push(`${file}: ${link}`);
    }
  }
  return broken;
}

/** Opens a page, saves a screenshot, and returns what is wrong with it. */
async function browse(
  browser: Browser,
  url: string,
  name: string,
  isPhone: boolean,
  scheme: "light" | "dark",
) {
  const page = await browser.newPage({ viewport: isPhone ? PHONE : DESKTOP, colorScheme: scheme });
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(`${name}: ${error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400) faults.push(`${name}: ${response.status()} ${response.url()}`);
  });
  await page.goto(url, { waitUntil: "networkidle" });
  const { overflow, isDark } = await page.evaluate(() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    isDark: document.documentElement.classList.contains("dark"),
  }));
  if (overflow > 0) faults.push(`${name}: ${overflow} pixels wider than the screen`);
  if (isDark !== (scheme === "dark")) faults.push(`${name}: not in the ${scheme} colour scheme`);
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  await page.close();
  return faults;
}

async function browseAll(): Promise<string[]> {
  mkdirSync(SCREENSHOTS, { recursive: true });
  const files = new Set(readdirSync(SITE, { recursive: true }).map(String));
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const file = fileOf(new URL(request.url).pathname, files);
      if (file === undefined) return new Response("not found", { status: 404 });
      return new Response(Bun.file(join(SITE, file)));
    },
  });
  const executablePath = process.env.CHROMIUM ?? Bun.which("chromium") ?? "chromium";
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];
  const browser = await chromium.launch({ executablePath, args });
  const faults: string[] = [];
  for (const path of BROWSED) {
    const name = path === "/" ? "home" : path.slice(path.lastIndexOf("/") + 1);
    const url = `http://127.0.0.1:${server.port}${path}`;
    faults.push(...(await browse(browser, url, name, false, "light")));
    faults.push(...(await browse(browser, url, `${name}-dark`, false, "dark")));
    faults.push(...(await browse(browser, url, `${name}-phone`, true, "light")));
  }
  await browser.close();
  return faults;
}

const faults = [...(await brokenLinks()), ...(await browseAll())];
for (const fault of faults) console.error(fault);
console.log(`${faults.length} faults, screenshots in ${SCREENSHOTS}`);
process.exit(faults.length === 0 ? 0 : 1);
