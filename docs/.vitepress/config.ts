/** The documentation site: the README, the guides of this folder, and the API reference. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type MarkdownRenderer, type UserConfig } from "vitepress";
import { withMermaid } from "vitepress-plugin-mermaid";

const REPOSITORY = "https://github.com/datagram-socket/datagram-socket";

/** The root of the repository in the URLs of images. */
const IMAGES = "https://raw.githubusercontent.com/datagram-socket/datagram-socket/main";

/** The guides in reading order. A guide that is not listed comes last. */
const ORDER = [
  "choosing",
  "headroom",
  "errors",
  "offload",
  "custom-sockets",
  "simulation",
  "migrating",
  "node-dgram",
  "unix-dgram",
  "from-the-rust-crate",
  "deployment",
  "quic",
  "masque",
  "scaling",
  "restart",
  "readiness",
];

const docs = join(import.meta.dirname, "..");

/** Returns the names of the guides in the folder, in reading order. */
function guides(): string[] {
  const names = readdirSync(docs)
    .filter((file) => file.endsWith(".md") && file !== "index.md" && file !== "readme.md")
    .map((file) => file.slice(0, -".md".length));
  const rank = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

/** Returns the first heading of a guide. */
function titleOf(name: string): string {
  const text = readFileSync(join(docs, `${name}.md`), "utf8");
  return /^# (.+)$/m.exec(text)?.[1]?.replaceAll("`", "") ?? name;
}

/** Returns the pages of the API reference in one folder, such as "api/index/classes". */
function apiPages(folder: string): { text: string; link: string }[] {
  const files = readdirSync(join(docs, folder)).filter((file) => file.endsWith(".md"));
  return files.sort().map((file) => {
    const text = file.slice(0, -".md".length);
    return { text, link: `/${folder}/${text}` };
  });
}

/** Returns the sidebar of one entry point of the package, a group for each kind of export. */
function apiGroups(folder: string) {
  const kinds = readdirSync(join(docs, folder), { withFileTypes: true });
  return kinds
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({
      text: name.replace("-", " "),
      collapsed: true,
      items: apiPages(`${folder}/${name}`),
    }));
}

/** Returns the name to import for a folder of the API reference. */
function moduleName(folder: string): string {
  return folder === "index" ? "datagram-socket" : `datagram-socket/${folder}`;
}

/** Titles the pages of the entry points with the name to import, instead of the folder. */
function titleModules(md: MarkdownRenderer): void {
  md.core.ruler.push("module-titles", ({ tokens, env }) => {
    const folder = /^api\/([^/]+)\/index\.md$/.exec(env.relativePath ?? "")?.[1];
    const title = tokens[1];
    if (folder === undefined || tokens[0]?.tag !== "h1" || title === undefined) return;
    title.content = moduleName(folder);
    const [text] = title.children ?? [];
    if (text !== undefined) text.content = title.content;
  });
}

/** Returns the sidebar of the API reference, a section for each entry point of the package. */
function apiSections() {
  const folders = readdirSync(join(docs, "api"), { withFileTypes: true });
  return (
    folders
      .filter((entry) => entry.isDirectory())
      // The main module is the first one.
      .sort((a, b) => Number(b.name === "index") - Number(a.name === "index"))
      .map(({ name }) => ({
        text: moduleName(name),
        link: `/api/${name}/`,
        items: apiGroups(`api/${name}`),
      }))
  );
}

/**
 * Makes links work that are written for the repository. On the page of the README, which is in the
 * parent folder, links to guides lead to their pages. Links to other files lead to the repository.
 * Images of the README have absolute URLs, which npm needs: they become files of the site.
 */
function rewriteLinks(md: MarkdownRenderer): void {
  md.core.ruler.push("repository-links", ({ tokens, env }) => {
    const isReadme = env.relativePath === "readme.md";
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const name = token.type === "image" ? "src" : "href";
      const target = token.attrGet(name)?.replace(`${IMAGES}/`, "") ?? null;
      if (target === null || /^(?:[a-z]+:|#|\/)/.test(target)) continue;
      const path = join("/", isReadme ? target : join("docs", target)).slice(1);
      if (token.type === "image") token.attrSet(name, `../${path}`);
      else if (path.startsWith("docs/")) token.attrSet(name, `./${path.slice("docs/".length)}`);
      else if (path.startsWith("README.md")) token.attrSet(name, `./${path.toLowerCase()}`);
      else token.attrSet(name, `${REPOSITORY}/blob/main/${path}`);
    }
  });
}

const config: UserConfig = withMermaid(
  defineConfig({
    title: "datagram-socket",
    description: "Datagram sockets for Bun: UDP and Unix datagrams in batches.",
    base: process.env.SITE_BASE ?? "/",
    cleanUrls: true,
    srcExclude: ["node_modules/**"],
    themeConfig: {
      search: { provider: "local" },
      nav: [
        { text: "Guides", link: "/readme" },
        { text: "API", link: "/api/index/" },
      ],
      sidebar: {
        "/": [
          { text: "Getting started", link: "/readme" },
          {
            text: "Guides",
            items: guides().map((name) => ({ text: titleOf(name), link: `/${name}` })),
          },
        ],
        "/api/": apiSections(),
      },
      outline: { level: [2, 3] },
      socialLinks: [{ icon: "github", link: REPOSITORY }],
      editLink: { pattern: `${REPOSITORY}/edit/main/docs/:path` },
    },
    markdown: {
      config(md) {
        rewriteLinks(md);
        titleModules(md);
      },
      theme: { light: "github-light", dark: "github-dark" },
    },
  }),
);

export default config;
