// Print every record of the tenant, one line each; a restart goes on where the last run ended: node listen.mjs [COUNT]
import { AckPolicy, DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";
import { open, STREAM, subjects } from "./stream.mjs";

const NAME = "example-node";
let left = Number(process.argv[2] ?? Infinity);

const { connection, js } = await open();
const manager = await jetstreamManager(connection);
// Asking again for a consumer that is there changes nothing, and it keeps its place.
await manager.consumers.add(STREAM, {
  durable_name: NAME,
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.All,
  filter_subjects: subjects(["completed", "failed"]),
});
const consumer = await js.consumers.get(STREAM, NAME);
const messages = await consumer.consume({ max_messages: 10 });
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => messages.stop());
}
for await (const message of messages) {
  const { record } = message.json();
  console.log(`${record.document_id}\t${record.status}\t${record.fields.total?.value ?? ""}`);
  // Only now is it done. What comes twice all the same, after a crash, has the same `event_id`.
  await message.ackAck();
  left -= 1;
  if (left <= 0) break;
}
await messages.close();
await connection.close();
