// What the people in front of the dashboard have in common: a real browser that notes whatever nobody
// should ever see, and hands for its forms.
const path = require('path');
const puppeteer = require('puppeteer-core');

// Without this the browser says that nobody sits in front of it, and could not unsubscribe.
const agent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36';
const desk = { width: 1280, height: 900 };

// Runs `visit(page, wrong)` and prints what it returns, with what went wrong, as JSON.
async function run(visit) {
  const browser = await puppeteer.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-quic'],
  });
  try {
    const wrong = [];
    const page = await browser.newPage();
    await page.setViewport(desk);
    await page.setUserAgent({ userAgent: agent });
    listen(page, wrong);
    const seen = await visit(page, wrong);
    // A mail in its frame may try what it likes; the browser says that it held it back.
    const held = /Blocked script execution in .*\/html'|directive: "img-src data:"/;
    const guarded = wrong.filter((line) => held.test(line)).length;
    console.log(JSON.stringify({ ...seen, guarded, wrong: wrong.filter((line) => !held.test(line)) }));
  } finally {
    await browser.close();
  }
}

// A question before something is done is answered yes; every other dialog is somebody's script.
function listen(page, wrong) {
  const note = (text) => wrong.push(`${page.url()}: ${text}`);
  page.on('dialog', (dialog) => {
    if (dialog.type() !== 'confirm') note(`a dialog says ${dialog.message()}`);
    return dialog.accept();
  });
  page.on('pageerror', (error) => note(error.message));
  page.on('console', (line) => {
    if (['error', 'warn'].includes(line.type())) note(`${line.text()} ${line.location()?.url ?? ''}`);
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    const ours = ['127.0.0.1', 'localhost'].includes(url.hostname) || ['data:', 'about:'].includes(url.protocol);
    if (!ours) note(`asks for ${request.url()}`);
  });
  // What the policy of a page holds back never leaves the browser, which knows no error for it.
  page.on('requestfailed', (request) => {
    const at = wrong.findIndex((line) => line.endsWith(`asks for ${request.url()}`));
    if (at >= 0 && !request.failure()?.errorText) wrong.splice(at, 1);
  });
}

async function logIn(page, base, username, password) {
  await page.goto(`${base}/dashboard`);
  await page.$eval('input[name=username]', (field) => { field.value = ''; });
  await page.type('input[name=username]', username);
  await page.type('input[name=password]', password);
  await submit(page, 'form.stack');
}

// Fills in a form, also one that is folded away; names and values as in its fields.
async function fill(page, form, values) {
  await page.$eval(form, (one) => one.closest('details')?.setAttribute('open', ''));
  for (const [name, value] of Object.entries(values)) {
    await page.$eval(`${form} [name="${name}"]`, (field, text) => {
      if (field.type === 'checkbox') field.checked = text;
      else field.value = text;
    }, value);
  }
  await submit(page, form);
}

async function submit(page, form) {
  await Promise.all([page.waitForNavigation(), page.click(`${form} button:not([type=button])`)]);
}

// The button of this action: a form with these hidden fields.
function button(fields) {
  const has = Object.entries(fields).map(([name, value]) => `:has(input[name="${name}"][value="${value}"])`);
  return `form${has.join('')}`;
}

const text = (page, selector) => page.$eval(selector, (one) => one.innerText.trim());

const shot = (page, folder, name) => page.screenshot({ path: path.join(folder, `${name}.png`) });

module.exports = { run, logIn, fill, submit, button, text, shot, desk };
