// An application that uses the real stripe-node, told what to do line by line; see app.py.
//
//     app.mjs node BASE API_KEY

import { createInterface } from 'node:readline';
import Stripe from 'stripe';

const [, , , base, apiKey] = process.argv;
const { hostname: host, port } = new URL(base);
const stripe = new Stripe(apiKey, { host, port: Number(port), protocol: 'http' });

const resources = {
  charges: stripe.charges,
  customers: stripe.customers,
  payment_intents: stripe.paymentIntents,
  payment_methods: stripe.paymentMethods,
  refunds: stripe.refunds,
};

// The names that stripe-python has for the same errors.
const types = { StripeConnectionError: 'APIConnectionError' };

async function call({ call, id, params, intent, key, retries }) {
  const [resource, method] = call.split('.');
  const options = {};
  if (intent) options.headers = { 'Sandbox-Intent': intent };
  if (key) options.idempotencyKey = key;
  if (Number.isInteger(retries)) options.maxNetworkRetries = retries;
  const at = id ? [id] : [];
  const given = [...at, params ?? {}, ...(Object.keys(options).length ? [options] : [])];
  if (method === 'list') {
    const ids = [];
    for await (const one of resources[resource].list(...given)) ids.push(one.id);
    return { ids };
  }
  const found = await resources[resource][method](...given);
  const { object, status, amount, description, latest_charge } = found;
  const outcome = found.lastResponse.headers['payonce-outcome'];
  return { id: found.id, object, status, amount, description, latest_charge, outcome };
}

for await (const line of createInterface({ input: process.stdin })) {
  let result;
  try {
    result = { ok: await call(JSON.parse(line)) };
  } catch (error) {
    const type = types[error.type] ?? String(error.type ?? error.name).replace(/^Stripe/, '');
    const { statusCode: status = null, code = null, message } = error;
    result = { error: { type, status, code, message } };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
