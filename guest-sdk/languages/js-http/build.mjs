// node build.mjs SCRIPT WIT WORLD FILE: a component of a script that listens for `fetch` events. By the library and not
// by a command: `jco componentize` needs other versions of what both share.
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [sourcePath, witPath, worldName, file] = process.argv.slice(2);
const { component } = await componentize({ sourcePath, witPath, worldName });
await writeFile(file, component);
