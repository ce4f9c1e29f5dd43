// Hand in one document and print its record: node extract.mjs lunch.jpg
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { open, STREAM, submit, subjects } from "./stream.mjs";

const [path] = process.argv.slice(2);
if (!path) {
  console.error("usage: node extract.mjs FILE");
  process.exit(2);
}
const { connection, js } = await open();
const documentId = randomUUID();
await submit(js, documentId, await readFile(path), path);

// An ordered consumer reads the history of the document and then what comes, also over lost connections.
const consumer = await js.consumers.get(STREAM, {
  filter_subjects: subjects(["completed", "failed"], documentId),
});
const messages = await consumer.consume();
for await (const message of messages) {
  const { record } = message.json();
  console.log(JSON.stringify(record));
  process.exitCode = record.status === "completed" ? 0 : 1;
  break;
}
await messages.close();
await connection.close();
