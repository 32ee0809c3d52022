// Drives the npm client "asterisk-manager": log in, look, send, receive; prints JSON of it.
'use strict';

const Manager = require('asterisk-manager');

const [host, port, username, secret] = process.argv.slice(2);
const seen = { events: [] };
const client = new Manager(null, host, username, secret, true);
client.options.port = Number(port);

function finish() {
  client.disconnect();
  process.stdout.write(JSON.stringify(seen) + '\n');
}

function command(text, then) {
  client.action({ action: 'smscommand', command: text }, then);
}

client.on('managerevent', (event) => {
  seen.events.push({
    event: event.event,
    id: event.id,
    status: event.status,
    span: event.gsmspan,
    sender: event.sender,
    content: event.content,
  });
  if (seen.events.length === 2) finish();
});
client.connect(Number(port), host, () => {
  client.login((error) => {
    seen.login = !error;
    if (error) {
      finish();
      return;
    }
    command('gsm show spans', (failed, spans) => {
      seen.spans = spans.content;
      command('gsm send sms 2 +79001234567 "from%20asterisk-manager" am-1', (_, sent) => {
        seen.send = sent.response;
      });
    });
  });
});
