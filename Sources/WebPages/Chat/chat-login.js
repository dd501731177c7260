// Logging in and registering: one form with two faces, so that nothing typed is lost in between.
import { byID, setFieldError, setText } from "./chat-dom.js";
import {
  displayNameProblem, errorText, handleProblem, normalHandle, passwordProblem,
} from "./chat-text.js";

const loginWords = {
  UNAUTHENTICATED: "Wrong handle or password.",
  NOT_FOUND: "Wrong handle or password.",
};

export class LoginForm {
  #client;
  #onSignedIn;
  #isRegistering = false;
  #handle = byID("handle");
  #password = byID("password");
  #displayName = byID("display-name");

  constructor(client, onSignedIn) {
    this.#client = client;
    this.#onSignedIn = onSignedIn;
    byID("switch-mode").addEventListener("click", () => {
      this.#setRegistering(!this.#isRegistering);
      this.#handle.focus();
    });
    byID("account").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  show(message = "") {
    byID("welcome").hidden = false;
    this.#setRegistering(false);
    setText(byID("account-error"), message);
    this.#handle.focus();
  }

  hide() {
    byID("welcome").hidden = true;
    this.#password.value = "";
  }

  #setRegistering(isRegistering) {
    this.#isRegistering = isRegistering;
    setText(byID("account-title"), isRegistering ? "Join Martlet" : "Log in to Martlet");
    setText(byID("switch-question"), isRegistering ? "Already registered?" : "New here?");
    setText(byID("switch-mode"), isRegistering ? "Log in" : "Create an account");
    for (const id of ["register", "display-name-field", "handle-hint", "password-hint"]) {
      byID(id).hidden = !isRegistering;
    }
    byID("login").hidden = isRegistering;
    this.#password.autocomplete = isRegistering ? "new-password" : "current-password";
    this.#showErrors({});
  }

  #showErrors({ form = "", handle = "", password = "", displayName = "" }) {
    setText(byID("account-error"), form);
    setFieldError(this.#handle, handle);
    setFieldError(this.#password, password);
    setFieldError(this.#displayName, displayName);
    const wrong = (handle && this.#handle) || (displayName && this.#displayName)
      || (password && this.#password);
    if (wrong) wrong.focus();
    return Boolean(wrong);
  }

  async #submit() {
    const button = byID(this.#isRegistering ? "register" : "login");
    if (button.getAttribute("aria-disabled")) return;
    const account = {
      handle: normalHandle(this.#handle.value),
      password: this.#password.value,
    };
    if (this.#isRegistering) account.displayName = this.#displayName.value.trim();
    const hasProblem = this.#showErrors({
      handle: handleProblem(account.handle),
      password: passwordProblem(account.password),
      displayName: this.#isRegistering ? displayNameProblem(account.displayName) : "",
    });
    if (hasProblem) return;
    button.setAttribute("aria-disabled", "true");
    try {
      if (this.#isRegistering) await this.#client.register(account);
      else await this.#client.login(account);
      this.#onSignedIn();
    } catch (error) {
      const isTaken = this.#isRegistering && error.code === "ALREADY_EXISTS";
      if (isTaken) this.#showErrors({ handle: "This handle is taken. Choose another one." });
      else this.#showErrors({ form: errorText(error, this.#isRegistering ? {} : loginWords) });
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }
}
