/** `import text from "x.c" with { type: "text" }` returns the contents of the file. */
declare module "*.c" {
  const text: string;
  export default text;
}
