// The chat page. Until somebody is signed in, only what the login needs is loaded.
import { MartletClient } from "./martlet.js";
import { byID } from "./chat-dom.js";
import { LoginForm } from "./chat-login.js";

const client = new MartletClient({});
const login = new LoginForm(client, enter);
const loggedOut = "You were logged out. Log in again.";
let screen = null;
let why = "";

async function enter() {
  screen ??= import("./chat-screen.js").then(({ ChatScreen }) => new ChatScreen(client, leave));
  const { enter: show } = await screen;
  if (!client.user) return;
  login.hide();
  show();
}

function leave(message) {
  login.show(message);
}

// It may end while the screen that would say so is still being loaded.
client.addEventListener("signedout", () => { why = loggedOut; });

client.addEventListener("cached", () => client.user && enter());
byID("skip").addEventListener("click", (event) => event.preventDefault());

try {
  if (await client.start()) await enter();
  else if (byID("welcome").hidden) login.show(why);
} catch {
  login.show("The service cannot be reached. Try again in a moment.");
}
