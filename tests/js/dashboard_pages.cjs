// A person who looks at every page of the dashboard: in the light and the dark theme, on a phone, in
// Russian. Prints as JSON what is wrong with any of them; leaves screenshots.
//   node dashboard_pages.cjs BASE_URL USERNAME PASSWORD SCREENSHOT_FOLDER
const fs = require('fs');
const path = require('path');
const { run, logIn, fill, desk } = require('./dashboard.cjs');

const [base, username, password, folder] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];
const nobody = 'msg_01m8d8d58pedztamtdavqr2eqd';
const phone = { width: 390, height: 844, isMobile: true, hasTouch: true };
const looks = [
  { look: 'light', theme: 'light', lang: 'en', viewport: desk },
  { look: 'dark', theme: 'dark', lang: 'en', viewport: desk },
  { look: 'phone', theme: 'light', lang: 'en', viewport: phone },
  { look: 'russian', theme: 'dark', lang: 'ru', viewport: phone },
];

const links = (page, selector) =>
  page.$$eval(selector, (all) => all.map((a) => a.href).filter((href) => href.includes('/dashboard')));

// Each page of the menu, the account, and of each list the first thing it leads to, with its tabs.
async function addresses(page) {
  const found = new Set([...(await links(page, '.side a')), `${base}/dashboard/account`]);
  for (const href of found) {
    await page.goto(href);
    (await links(page, 'main .tabs a')).forEach((one) => found.add(one));
    const inside = (await links(page, 'main td a')).filter((one) => !one.includes('format=csv'));
    const kinds = new Set([...found].map(kind));
    for (const one of inside) {
      if (!kinds.has(kind(one))) found.add(one);
      kinds.add(kind(one));
    }
  }
  return [...found];
}

// What sort of page an address is: `webhooks`, `webhooks-one`, `webhooks-one-events-one`, `messages-one-source`.
function kind(href) {
  const url = new URL(href);
  if (url.pathname.startsWith('/inbox')) return url.pathname === '/inbox' ? 'inbox' : 'inbox-one';
  if (href.endsWith(nobody)) return 'error';
  const parts = url.pathname.split('/').slice(2);
  const name = parts.map((part, n) => (n % 2 === 0 ? part : 'one')).join('-') || 'overview';
  return [name, url.searchParams.get('tab') ?? url.searchParams.get('state')].filter(Boolean).join('-');
}

async function inspect(page, href, look, wrong) {
  const answer = await page.goto(href, { waitUntil: 'load' });
  const note = (text) => wrong.push(`${kind(href)} (${look}): ${text}`);
  const wanted = href.endsWith(nobody) ? 404 : 200;
  if (answer.status() !== wanted) note(`answers ${answer.status()}`);
  await judge(page, kind(href), look, note);
}

async function judge(page, name, look, note) {
  const wider = await page.evaluate(() =>
    document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wider > 0) note(`${wider} pixels wider than the window`);
  const report = await page.evaluate(
    `${axe}; axe.run(document, { iframes: false, runOnly: ${JSON.stringify(rules)} })`);
  for (const one of report.violations) note(`${one.id}: ${one.nodes.slice(0, 3).map((node) => node.target).join(' | ')}`);
  const whole = await page.evaluate(() => document.documentElement.scrollHeight);
  const clip = { x: 0, y: 0, width: page.viewport().width, height: Math.min(whole, 2000) };
  await page.screenshot({ path: path.join(folder, `${name}-${look}.png`), clip });
}

// A page that a form answers with: the secret of a new key.
async function secret(page, look, wrong) {
  await page.goto(`${base}/dashboard/keys`);
  await fill(page, 'form[action="/dashboard/keys"]', { name: `look ${look}` });
  const note = (text) => wrong.push(`secret (${look}): ${text}`);
  if (!(await page.$('#secret'))) note('no secret');
  await judge(page, 'secret', look, note);
}

run(async (page, wrong) => {
  await page.goto(`${base}/dashboard/login`);
  await page.screenshot({ path: path.join(folder, 'login.png') });
  await logIn(page, base, username, password);
  const pages = await addresses(page);
  await page.goto(`${base}/inbox`);
  const mails = await page.$$eval('a', (all) => all.map((a) => a.href));
  const mail = mails.find((href) => href.includes('/inbox/'));
  const more = [`${base}/dashboard/login`, `${base}/dashboard/messages/${nobody}`, `${base}/inbox`, mail];
  for (const { look, theme, lang, viewport } of looks) {
    await page.setViewport(viewport);
    const liked = { postern_theme: theme, postern_lang: lang };
    await page.setCookie(...Object.entries(liked).map(([name, value]) => ({ name, value, url: base })));
    for (const href of [...pages, ...more]) await inspect(page, href, look, wrong);
    await secret(page, look, wrong);
  }
  // The browser says of the page that is not there that it is not there.
  const told = wrong.filter((line) => !(line.includes(nobody) && line.includes('404')));
  wrong.splice(0, wrong.length, ...told);
  return { pages: [...pages, ...more].map(kind) };
}).catch((error) => {
  console.error(error);
  process.exit(1);
});
