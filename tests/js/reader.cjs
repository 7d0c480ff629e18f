// A person with a real browser: looks at a mail in the inbox, reads it where images are shown, follows
// its link and unsubscribes with the button. Prints what was seen as JSON; leaves screenshots.
//   node reader.cjs INBOX_PAGE MAIL_FILE UNSUBSCRIBE_URL SCREENSHOT_FOLDER
const path = require('path');
const puppeteer = require('puppeteer-core');

const [inbox, mail, unsubscribe, folder] = process.argv.slice(2);
// Without this the browser says that nobody sits in front of it, and the verdict would be "bot".
const agent = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36';

async function main(browser) {
  const seen = {};
  const page = await browser.newPage();
  await page.setViewport({ width: 900, height: 600 });
  await page.setUserAgent({ userAgent: agent });
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    const host = new URL(request.url()).hostname;
    if (request.url().startsWith('http') && host !== '127.0.0.1') {
      // Nobody is really sent to the shop: no test leaves the machine.
      seen.target = request.url();
      return request.abort();
    }
    return request.continue();
  });
  const shot = (name) => page.screenshot({ path: path.join(folder, `${name}.png`) });

  await page.goto(inbox);
  seen.inbox = await page.title();
  await shot('inbox');

  // Not over the inbox, whose policy shows no remote images.
  await page.goto(`file://${mail}`, { waitUntil: 'networkidle0' });
  seen.pixel = await page.$eval('img', (image) => image.decode().then(() => image.naturalWidth));
  await shot('mail');
  const left = page.waitForRequest((request) => request.url().startsWith('https://'));
  await page.click('a');
  await left;

  await page.goto(unsubscribe);
  seen.question = await page.$eval('h1', (heading) => heading.textContent);
  await shot('unsubscribe');
  await Promise.all([page.waitForNavigation(), page.click('button.main')]);
  seen.done = await page.$eval('h1', (heading) => heading.textContent);
  await shot('unsubscribed');
  console.log(JSON.stringify(seen));
}

puppeteer
  .launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-quic'] })
  .then((browser) => main(browser).finally(() => browser.close()))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
