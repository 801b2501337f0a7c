/* node straight.mjs NAME SETTINGS: what a driver does in Node itself, over TCP; writes its facts as JSON. */
const [, , name, settings] = process.argv;
const {facts} = await import(`./${name}.mjs`);
process.stdout.write(JSON.stringify(await facts(JSON.parse(settings))), () => process.exit(0));
