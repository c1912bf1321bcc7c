/** `import path from "x.c" with { type: "file" }` returns the path of the file. */
declare module "*.c" {
  const path: string;
  export default path;
}
