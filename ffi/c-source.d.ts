/** `import path from "x.c" with { type: "file" }` answers where the file lies. */
declare module "*.c" {
  const path: string;
  export default path;
}
