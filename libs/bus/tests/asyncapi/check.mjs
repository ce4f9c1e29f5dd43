// Reads the AsyncAPI documents that are named and prints what is wrong with each, as a JSON array.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const results = [];
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"));
  results.push({
    diagnostics: diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join("."), severity })),
    operations: document ? document.operations().all().map((each) => each.id()) : [],
  });
}
console.log(JSON.stringify(results));
