// The first day of an operator, in a real browser: logs in, makes an SMTP credential and sends with it,
// finds the mail and reads what happened to it, sees a reader unsubscribe, makes and rotates a key,
// lowers a limit and sees it bite, replays a webhook, takes in a file. Prints what was seen as JSON.
//   node dashboard_journey.cjs BASE_URL USERNAME PASSWORD SMTP_PORT HOOK_URL MAIL_FOLDER EDGE_NAME EDGE_URL SCREENSHOT_FOLDER
const fs = require('fs');
const path = require('path');
const nodemailer = require('nodemailer');
const { run, logIn, fill, submit, button, text, shot } = require('./dashboard.cjs');

const [base, username, password, port, hook, mailbox, edgeName, edge, folder] = process.argv.slice(2);
const at = (page, rest) => page.goto(`${base}/dashboard/${rest}`);
const whole = (page) => text(page, 'main');

// Looks again until the page shows it.
async function until(look, wanted) {
  const end = Date.now() + 30_000;
  for (;;) {
    const seen = await look();
    if (wanted.test(seen)) return seen;
    if (Date.now() > end) throw new Error(`no ${wanted} in ${seen}`);
  }
}

function mail(login, to) {
  const client = nodemailer.createTransport({
    host: '127.0.0.1', port: Number(port), auth: login, requireTLS: true, tls: { rejectUnauthorized: false },
  });
  return client.sendMail({
    from: 'Shop <shop@example.com>', to, subject: 'Spring sale', html: '<p>Everything must go.</p>',
    headers: { 'X-Campaign-ID': 'spring' },
  });
}

// Fills in a form whose work takes long, and waits for the page at its end; `window.told` is what the
// bar and the words beside it showed meanwhile.
async function long(page, form, values, file) {
  await page.evaluate((form) => {
    window.told = [];
    const note = () => {
      const [bar, said] = ['progress', 'output'].map((name) => document.querySelector(`${form} ${name}`));
      if (said?.textContent) window.told.push([bar.value, said.textContent]);
    };
    new MutationObserver(note).observe(document.body, { subtree: true, childList: true });
  }, form);
  await page.$eval(form, (one, values) => {
    one.closest('details').open = true;
    for (const [name, value] of Object.entries(values)) one.querySelector(`[name="${name}"]`).value = value;
  }, values);
  if (file) await (await page.$(`${form} input[type=file]`)).uploadFile(file);
  await page.click(`${form} button`);
  await page.waitForFunction((form) => !document.querySelector(form), {}, form);
}

async function enter(page, seen) {
  await logIn(page, base, username, 'not the password');
  seen.refused = await text(page, '.notice');
  await logIn(page, base, username, password);
  seen.first = await text(page, 'h1');
  await shot(page, folder, 'journey-overview');
}

async function credential(page, seen) {
  await at(page, 'smtp');
  await fill(page, 'form[action="/dashboard/smtp"]', { name: 'campaign manager' });
  const pass = await text(page, '#secret');
  const user = (await whole(page)).match(/smtp_[0-9a-f]{16}/)[0];
  await shot(page, folder, 'journey-credential');
  seen.sent = (await mail({ user, pass }, 'ann@good.test')).response;
  return { user, pass };
}

async function follow(page, seen) {
  await page.type('input[name=q]', 'ann@good.test');
  await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
  if (await page.$('main td a[href*="/messages/msg_"]')) {
    await Promise.all([page.waitForNavigation(), page.click('main td a[href*="/messages/msg_"]')]);
  }
  const message = page.url();
  const again = async () => { await page.goto(message); return whole(page); };
  await until(again, /delivered/i);
  await page.$$eval('.moments details', (all) => all.forEach((one) => one.setAttribute('open', '')));
  seen.timeline = await whole(page);
  await shot(page, folder, 'journey-timeline');
  await page.goto(`${message}?tab=look`);
  const frame = await (await page.waitForSelector('iframe')).contentFrame();
  seen.look = await frame.$eval('body', (body) => body.innerText.trim());
  await page.goto(`${message}?tab=source`);
  seen.source = await text(page, 'pre');
}

async function unsubscribe(page, seen) {
  // The link is in the mail that went out; what the dashboard shows has none that would count.
  const mails = fs.readdirSync(mailbox).filter((name) => name.endsWith('.eml'));
  const mail = fs.readFileSync(path.join(mailbox, mails[0]), 'utf8');
  const [, link] = mail.replace(/\r?\n[ \t]+/g, ' ').match(/^List-Unsubscribe:.*<(http[^>]+)>/mi);
  await page.goto(link.replace(edgeName, edge));
  await Promise.all([page.waitForNavigation(), page.click('button.main')]);
  await at(page, 'suppressions?email=ann@good.test');
  seen.suppressed = await until(async () => { await page.reload(); return whole(page); }, /ann@good\.test/);
  await shot(page, folder, 'journey-suppression');
}

async function key(page, seen) {
  const works = async (secret) => {
    const answer = await fetch(`${base}/v1/keys/self`, { headers: { authorization: `Bearer ${secret}` } });
    return answer.status;
  };
  await at(page, 'keys');
  await fill(page, 'form[action="/dashboard/keys"]', { name: 'shop', scopes: 'messages:send', life: '30' });
  const old = await text(page, '#secret');
  const { id } = await (await fetch(`${base}/v1/keys/self`, { headers: { authorization: `Bearer ${old}` } })).json();
  await at(page, 'keys');
  await submit(page, button({ id, act: 'rotate' }));
  const fresh = await text(page, '#secret');
  await shot(page, folder, 'journey-key');
  seen.keys = [old !== fresh, await works(old), await works(fresh)];
}

async function limit(page, seen, login) {
  await at(page, 'settings');
  await fill(page, 'form[action="/dashboard/settings"]', { name: 'smtp.recipients_max' });
  await fill(page, 'form[action="/dashboard/settings"]', { value: '1' });
  const two = async () => {
    const sent = await mail(login, 'bob@good.test, eve@good.test');
    return sent.rejectedErrors?.[0]?.response ?? '';
  };
  seen.limit = await until(two, /^4/);
  await at(page, 'audit');
  seen.audit = await whole(page);
  await shot(page, folder, 'journey-audit');
}

async function webhook(page, seen, login) {
  await at(page, 'webhooks');
  await fill(page, 'form[action="/dashboard/webhooks"]', { url: hook, events: 'message.delivered' });
  seen.secret = await text(page, '#secret');
  await mail(login, 'carol@good.test');
  await at(page, 'webhooks');
  await Promise.all([page.waitForNavigation(), page.click('main td a[href*="/webhooks/whk_"]')]);
  const address = page.url();
  const again = async () => { await page.goto(address); return whole(page); };
  seen.delivery = await until(again, /evt_\S+\s+Delivered/);
  await long(page, 'form[action$="/replay"]', { since: new Date().toISOString().slice(0, 10) });
  seen.replayed = await text(page, 'main dl div:last-child');
  await shot(page, folder, 'journey-webhook');
}

async function file(page, seen) {
  await at(page, 'suppressions');
  const path = `${folder}/gone.csv`;
  fs.writeFileSync(path, Array.from({ length: 3000 }, (_, n) => `gone${n}@good.test\n`).join(''));
  await long(page, 'form[action$="/import"]', {}, path);
  seen.told = await page.evaluate(() => window.told);
  await shot(page, folder, 'journey-import');
  seen.imported = await text(page, 'main dl');
}

run(async (page) => {
  const seen = {};
  await enter(page, seen);
  const login = await credential(page, seen);
  await follow(page, seen);
  await unsubscribe(page, seen);
  await key(page, seen);
  await webhook(page, seen, login);
  await file(page, seen);
  await limit(page, seen, login);
  return seen;
}).catch((error) => {
  console.error(error);
  process.exit(1);
});
