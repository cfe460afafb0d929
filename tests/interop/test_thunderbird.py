"""A day with Thunderbird: it sets itself up, reads, flags, files, searches, sends, deletes. A picture of it is kept."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailbox_app.demo.appliance import Appliance
from tests.support.marionette import SECONDS, Marionette, Screen

PASSWORD = "correct horse battery"
PROGRAMS = ("thunderbird", "Xvfb", "import")
pytestmark = [
    pytest.mark.system,
    pytest.mark.xdist_group("interop"),
    pytest.mark.skipif(
        any(shutil.which(program) is None for program in PROGRAMS), reason=f"not all of {PROGRAMS} are installed"
    ),
]
PREFERENCES = """
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.rights.version", 1);
user_pref("mailnews.start_page.enabled", false);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mail.inappnotifications.enabled", false);
user_pref("network.dns.disableIPv6", true);
user_pref("marionette.port", {marionette});
user_pref("mail.accountmanager.accounts", "account1");
user_pref("mail.accountmanager.defaultaccount", "account1");
user_pref("mail.account.account1.server", "server1");
user_pref("mail.account.account1.identities", "id1");
user_pref("mail.server.server1.type", "imap");
user_pref("mail.server.server1.hostname", "127.0.0.1");
user_pref("mail.server.server1.port", {imaps});
user_pref("mail.server.server1.socketType", 3);
user_pref("mail.server.server1.authMethod", 3);
user_pref("mail.server.server1.userName", "thunder@example.org");
user_pref("mail.server.server1.name", "Mailbox");
user_pref("mail.server.server1.login_at_startup", false);
user_pref("mail.identity.id1.useremail", "thunder@example.org");
user_pref("mail.identity.id1.fullName", "Thunder");
user_pref("mail.identity.id1.smtpServer", "smtp1");
user_pref("mail.identity.id1.compose_html", false);
user_pref("mail.identity.id1.valid", true);
user_pref("mail.smtpservers", "smtp1");
user_pref("mail.smtp.defaultserver", "smtp1");
user_pref("mail.smtpserver.smtp1.hostname", "127.0.0.1");
user_pref("mail.smtpserver.smtp1.port", {submissions});
user_pref("mail.smtpserver.smtp1.try_ssl", 3);
user_pref("mail.smtpserver.smtp1.authMethod", 3);
user_pref("mail.smtpserver.smtp1.username", "thunder@example.org");
"""
TRUST = """
const [pem, ports, password] = arguments;
const database = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
const certificate = database.constructX509FromBase64(pem);
const overrides = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
for (const port of ports) overrides.rememberValidityOverride("127.0.0.1", port, {}, certificate, false);
for (const protocol of ["imap", "smtp"]) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(`${protocol}://127.0.0.1`, null, `${protocol}://127.0.0.1`, "thunder@example.org", password, "", "");
  await Services.logins.addLoginAsync(login);
}
"""
NAMES = """
const server = MailServices.accounts.allServers.find(each => each.type == "imap");
const inbox = server.rootFolder.getFolderWithFlags(0x1000);
const named = name => server.rootFolder.descendants.find(each => each.name == name);
const count = name => {
  const found = named(name);
  if (!found) return -1;
  found.updateFolder(null);
  return found.getTotalMessages(false);
};
const window = Services.wm.getMostRecentWindow("mail:3pane");
const tabs = window.document.getElementById("tabmail");
"""
READ = """
const pane = tabs.currentAbout3Pane;
if (pane.gFolder != inbox) { tabs.currentTabInfo.folder = inbox; return null; }
if (!pane.gDBView || pane.gDBView.rowCount != 3) return null;
if (pane.threadTree.selectedIndex != 0) { pane.threadTree.selectedIndex = 0; return null; }
const text = pane.messageBrowser.contentDocument.getElementById("messagepane").contentDocument.body?.textContent;
return text && text.includes("Quarterly figures") ? text : null;
"""
SEARCH = """
const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, inbox);
const term = session.createTerm();
term.attrib = Ci.nsMsgSearchAttrib.Body;
term.op = Ci.nsMsgSearchOp.Contains;
const value = term.value;
value.attrib = Ci.nsMsgSearchAttrib.Body;
value.str = "figures";
term.value = value;
term.booleanAnd = true;
session.appendTerm(term);
let hits = 0;
return await new Promise(resolve => {
  session.registerListener({ onSearchHit() { hits++; }, onSearchDone() { resolve(hits); }, onNewSearch() {} });
  session.search(null);
});
"""
COMPOSE = """
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
fields.from = fields.to = "thunder@example.org";
fields.subject = "Sent by Thunderbird";
fields.body = "hello\\n";
const parameters = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
parameters.composeFields = fields;
parameters.type = Ci.nsIMsgCompType.New;
parameters.format = Ci.nsIMsgCompFormat.PlainText;
parameters.identity = MailServices.accounts.defaultAccount.defaultIdentity;
MailServices.compose.OpenComposeWindowWithParams(null, parameters);
"""
SEND = """
const compose = Services.wm.getMostRecentWindow("msgcompose");
if (!compose?.gMsgCompose || compose.gSendLocked || !compose.document.title.includes("Sent by")) return false;
compose.GenericSendMessage(Ci.nsIMsgCompDeliverMode.Now);
return true;
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def thunderbird(appliance: Appliance, tmp_path: Path) -> Iterator[tuple[Marionette, Screen]]:
    """Thunderbird with one account that trusts the server's certificate and knows the password."""
    appliance.command("user", "add", "thunder@example.org", "--password-file", "-", stdin=PASSWORD + "\n")
    ports = {service: appliance.ports[service] for service in ("imaps", "submissions")}
    marionette = free_port()
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "user.js").write_text(PREFERENCES.format(marionette=marionette, **ports))
    screen = Screen(tmp_path)
    command = ["thunderbird", "--profile", profile, "--no-remote", "--marionette", "--remote-allow-system-access"]
    program = subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, "HOME": str(tmp_path), "DISPLAY": screen.display},
        stdout=(tmp_path / "thunderbird.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        driver = Marionette(marionette)
        pem = ssl.get_server_certificate(("127.0.0.1", ports["imaps"]))
        driver.run(TRUST, "".join(pem.splitlines()[1:-1]), list(ports.values()), PASSWORD)
        yield driver, screen
        driver.close()
    finally:
        program.terminate()
        program.wait(SECONDS)
        screen.close()


def test_thunderbird_works_a_day(appliance: Appliance, thunderbird: tuple[Marionette, Screen], tmp_path: Path) -> None:
    driver, screen = thunderbird
    client = appliance.mailbox("thunder@example.org", PASSWORD)
    for subject in ("Quarterly figures", "Lunch", "Minutes"):
        text = f"From: bob@example.net\r\nTo: thunder@example.org\r\nSubject: {subject}\r\n\r\nAbout {subject.lower()}.\r\n"
        client.append("INBOX", None, None, text.encode())

    driver.run(NAMES + "server.getNewMessages(server.rootFolder, null, null);")
    driver.until("the inbox is listed", NAMES + 'return inbox && count(inbox.name) == 3 && count("Sent") == 0;')
    driver.until("a message is read", NAMES + READ)
    screen.picture(Path(os.environ.get("PICTURES", tmp_path)) / "thunderbird.png")
    driver.run(NAMES + "inbox.markMessagesFlagged([[...inbox.messages][1]], true);")

    driver.run(NAMES + 'server.rootFolder.createSubfolder("Projects", null);')
    driver.until("the folder is there", NAMES + 'return count("Projects") == 0;')
    driver.run(
        NAMES
        + 'MailServices.copy.copyMessages(inbox, [[...inbox.messages][2]], named("Projects"), true, null, null, false);'
    )
    driver.until("one message moved", NAMES + 'return count("Projects") == 1 && count(inbox.name) == 2;')
    assert driver.run(NAMES + SEARCH) == 1

    driver.run(COMPOSE)
    driver.until("the message is sent", SEND)
    driver.until("it arrived and lies in Sent", NAMES + 'return count(inbox.name) == 3 && count("Sent") == 1;')
    driver.run(NAMES + "inbox.deleteMessages([[...inbox.messages][1]], null, false, true, null, false);")
    driver.until("one is in Trash", NAMES + 'return count("Trash") == 1 && count(inbox.name) == 2;')

    client.select("INBOX")
    _, seen = client.search(None, "SEEN")
    assert len(seen[0].split()) >= 1
    _, told = client.status("Projects", "(MESSAGES)")
    assert b"MESSAGES 1" in told[0]
    client.logout()
