// Drives the npm client "nami": log in, look, send, receive; prints what it saw as one line of JSON.
'use strict';

const { Nami, Actions } = require('nami');

const [host, port, username, secret] = process.argv.slice(2);
const silent = () => {};
const logger = { error: silent, warn: silent, info: silent, debug: silent };
const client = new Nami({ host, port: Number(port), username, secret, logger });
const seen = { events: [] };

function command(text, then) {
  const action = new Actions.Command(text);
  action.set('Action', 'SMSCommand');
  action.set('Command', text);
  client.send(action, then);
}

function finish() {
  process.stdout.write(JSON.stringify(seen) + '\n');
}

client.on('namiLoginIncorrect', () => {
  seen.login = false;
  // Its close() would send a Logoff to a gateway that has hung up.
  client.socket.destroy();
  finish();
});
client.on('namiEvent', (event) => {
  seen.events.push({
    event: event.event,
    id: event.id,
    status: event.status,
    span: event.gsmspan,
    sender: event.sender,
    content: event.content,
  });
  if (seen.events.length === 2) {
    client.close();
    finish();
  }
});
client.on('namiConnected', () => {
  seen.login = true;
  command('gsm show spans', (spans) => {
    seen.spans = spans.lines.join('\n');
    command('gsm send sms 2 +79001234567 "from%20nami" nami-1', (sent) => {
      seen.send = sent.response;
    });
  });
});
client.open();
