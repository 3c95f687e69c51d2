/* Our own pages in the languages of those who see them.  Layer web, proxy process.
 * UTF-8; what is not here (a fault without a row, a language) is shown in English.  English itself stands in fault.c.
 */
#include "web/proxy/fault_text.h"

#include "base/own.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* clang-format off */
static const struct fault_text texts[] = {
{"de", "Anfrage", "Einzelheiten", {
	[FAULT_REQUEST] = "Die Anfrage verletzt die Regeln von HTTP",
	[FAULT_SLOW_REQUEST] = "Die Anfrage kam zu langsam an",
	[FAULT_UNKNOWN_HOST] = "Unter diesem Namen gibt es keine App",
	[FAULT_APP_REFUSED] = "Die App nimmt keine Verbindungen an",
	[FAULT_APP_CLOSED] = "Die App hat die Verbindung ohne Antwort beendet",
	[FAULT_APP_BAD_ANSWER] = "Die Antwort der App verletzt die Regeln von HTTP",
	[FAULT_APP_SLOW] = "Die App hat nicht rechtzeitig geantwortet",
	[FAULT_APP_SLOW_CONNECT] = "Die App nimmt keine neuen Verbindungen an",
	[FAULT_APP_EMPTY] = "Von der App läuft zurzeit nichts",
	[FAULT_APP_CRASHED] = "Die App stürzt immer wieder ab",
	[FAULT_APP_PAUSED] = "Die App ist angehalten",
	[FAULT_APP_WAITED] = "Die App ist nicht rechtzeitig gestartet",
	[FAULT_APP_CROWDED] = "Zu viele Anfragen warten auf diese App",
	[FAULT_APP_BUSY] = "Die App ist überlastet",
	[FAULT_CONTROL_AWAY] = "Die Verwaltung wird gerade neu gestartet",
	[FAULT_BUSY] = "Diesem Server fehlen Verbindungen oder Speicher",
	[FAULT_MISDIRECTED] = "Die Verbindung wurde für einen anderen Namen geöffnet",
	[FAULT_HTTPS_OFF] = "Diese App gibt es nicht über https",
	[FAULT_TO_HTTPS] = "Diese App gibt es über https",
	[FAULT_APP_GONE] = "Unter diesem Namen gibt es keine App",
	[FAULT_PATH] = "Der Pfad lässt sich auf mehr als eine Weise lesen",
	[FAULT_ADDRESS] = "Die App bedient Ihre Adresse nicht",
	[FAULT_MAINTENANCE] = "An der App wird gerade gearbeitet",
	[FAULT_AUTH] = "Die App verlangt Name und Passwort",
	[FAULT_GUESSES] = "Von Ihrer Adresse kamen zu viele falsche Passwörter",
	[FAULT_CLIENT_RATE] = "Von Ihrer Adresse kamen zu viele Anfragen",
	[FAULT_RATE] = "Die App bekommt mehr Anfragen, als sie bedienen soll",
	[FAULT_TOTAL_RATE] = "Die Apps dieses Betreibers bekommen mehr Anfragen, als ihr Kontingent erlaubt",
	[FAULT_CROWD] = "Die App bedient schon so viele Anfragen gleichzeitig, wie sie soll",
	[FAULT_TOTAL_CROWD] = "Die Apps dieses Betreibers bedienen schon so viele Anfragen gleichzeitig, wie ihr Kontingent erlaubt",
	[FAULT_BODY] = "Die Anfrage ist größer, als die App annimmt",
	[FAULT_TIME] = "Die Anfrage dauerte länger, als die App erlaubt",
 }, {
	[TODO_REPEAT] = "Die gleiche Anfrage zu wiederholen hilft nicht.",
	[TODO_LINE] = "Versuchen Sie es mit einer besseren Verbindung noch einmal.",
	[TODO_RETRY] = "Versuchen Sie es gleich noch einmal.",
	[TODO_LATER] = "Versuchen Sie es später noch einmal.",
	[TODO_ADDRESS] = "Prüfen Sie die Adresse.",
	[TODO_OWNER] = "Wer sie betreibt, kann sie fortsetzen.",
	[TODO_RELOAD] = "Laden Sie die Seite neu.",
	[TODO_HTTP] = "Schreiben Sie http:// vor die Adresse.",
	[TODO_FOLLOW] = "Folgen Sie der neuen Adresse.",
 }},
{"fr", "Requête", "Détails", {
	[FAULT_REQUEST] = "La requête ne respecte pas les règles de HTTP",
	[FAULT_SLOW_REQUEST] = "La requête est arrivée trop lentement",
	[FAULT_UNKNOWN_HOST] = "Aucune application n’existe sous ce nom",
	[FAULT_APP_REFUSED] = "L’application n’accepte pas de connexions",
	[FAULT_APP_CLOSED] = "L’application a fermé la connexion sans répondre",
	[FAULT_APP_BAD_ANSWER] = "La réponse de l’application ne respecte pas les règles de HTTP",
	[FAULT_APP_SLOW] = "L’application n’a pas répondu à temps",
	[FAULT_APP_SLOW_CONNECT] = "L’application ne prend plus de nouvelles connexions",
	[FAULT_APP_EMPTY] = "Rien de cette application ne tourne actuellement",
	[FAULT_APP_CRASHED] = "L’application plante sans cesse",
	[FAULT_APP_PAUSED] = "L’application est en pause",
	[FAULT_APP_WAITED] = "L’application n’a pas démarré à temps",
	[FAULT_APP_CROWDED] = "Trop de requêtes attendent cette application",
	[FAULT_APP_BUSY] = "L’application est surchargée",
	[FAULT_CONTROL_AWAY] = "L’administration redémarre en ce moment",
	[FAULT_BUSY] = "Ce serveur manque de connexions ou de mémoire",
	[FAULT_MISDIRECTED] = "La connexion a été ouverte pour un autre nom",
	[FAULT_HTTPS_OFF] = "Cette application n’est pas servie en https",
	[FAULT_TO_HTTPS] = "Cette application est servie en https",
	[FAULT_APP_GONE] = "Aucune application n’existe sous ce nom",
	[FAULT_PATH] = "Le chemin peut se lire de plusieurs façons",
	[FAULT_ADDRESS] = "L’application ne sert pas votre adresse",
	[FAULT_MAINTENANCE] = "L’application est en maintenance",
	[FAULT_AUTH] = "L’application demande un nom et un mot de passe",
	[FAULT_GUESSES] = "Trop de mots de passe erronés sont venus de votre adresse",
	[FAULT_CLIENT_RATE] = "Trop de requêtes sont venues de votre adresse",
	[FAULT_RATE] = "L’application reçoit plus de requêtes qu’elle ne doit en servir",
	[FAULT_TOTAL_RATE] = "Les applications de ce propriétaire reçoivent plus de requêtes que leur quota",
	[FAULT_CROWD] = "L’application sert déjà autant de requêtes à la fois que prévu",
	[FAULT_TOTAL_CROWD] = "Les applications de ce propriétaire servent déjà autant de requêtes à la fois que leur quota",
	[FAULT_BODY] = "La requête est plus grande que ce que l’application accepte",
	[FAULT_TIME] = "La requête a duré plus longtemps que l’application ne le permet",
 }, {
	[TODO_REPEAT] = "Répéter la même requête ne servira à rien.",
	[TODO_LINE] = "Réessayez avec une meilleure connexion.",
	[TODO_RETRY] = "Réessayez dans un instant.",
	[TODO_LATER] = "Réessayez plus tard.",
	[TODO_ADDRESS] = "Vérifiez l’adresse.",
	[TODO_OWNER] = "Son propriétaire peut la reprendre.",
	[TODO_RELOAD] = "Rechargez la page.",
	[TODO_HTTP] = "Écrivez http:// devant l’adresse.",
	[TODO_FOLLOW] = "Suivez la nouvelle adresse.",
 }},
{"es", "Solicitud", "Detalles", {
	[FAULT_REQUEST] = "La solicitud incumple las reglas de HTTP",
	[FAULT_SLOW_REQUEST] = "La solicitud llegó demasiado despacio",
	[FAULT_UNKNOWN_HOST] = "No hay ninguna aplicación con este nombre",
	[FAULT_APP_REFUSED] = "La aplicación no acepta conexiones",
	[FAULT_APP_CLOSED] = "La aplicación cerró la conexión sin responder",
	[FAULT_APP_BAD_ANSWER] = "La respuesta de la aplicación incumple las reglas de HTTP",
	[FAULT_APP_SLOW] = "La aplicación no respondió a tiempo",
	[FAULT_APP_SLOW_CONNECT] = "La aplicación no admite conexiones nuevas",
	[FAULT_APP_EMPTY] = "Ahora no se ejecuta nada de esta aplicación",
	[FAULT_APP_CRASHED] = "La aplicación falla una y otra vez",
	[FAULT_APP_PAUSED] = "La aplicación está en pausa",
	[FAULT_APP_WAITED] = "La aplicación no arrancó a tiempo",
	[FAULT_APP_CROWDED] = "Demasiadas solicitudes esperan a esta aplicación",
	[FAULT_APP_BUSY] = "La aplicación está sobrecargada",
	[FAULT_CONTROL_AWAY] = "La administración se está reiniciando",
	[FAULT_BUSY] = "A este servidor le faltan conexiones o memoria",
	[FAULT_MISDIRECTED] = "La conexión se abrió para otro nombre",
	[FAULT_HTTPS_OFF] = "Esta aplicación no se ofrece por https",
	[FAULT_TO_HTTPS] = "Esta aplicación se ofrece por https",
	[FAULT_APP_GONE] = "No hay ninguna aplicación con este nombre",
	[FAULT_PATH] = "La ruta se puede leer de más de una manera",
	[FAULT_ADDRESS] = "La aplicación no atiende a su dirección",
	[FAULT_MAINTENANCE] = "La aplicación está en mantenimiento",
	[FAULT_AUTH] = "La aplicación pide un nombre y una contraseña",
	[FAULT_GUESSES] = "Llegaron demasiadas contraseñas erróneas desde su dirección",
	[FAULT_CLIENT_RATE] = "Llegaron demasiadas solicitudes desde su dirección",
	[FAULT_RATE] = "La aplicación recibe más solicitudes de las que debe atender",
	[FAULT_TOTAL_RATE] = "Las aplicaciones de este propietario reciben más solicitudes de las que permite su cuota",
	[FAULT_CROWD] = "La aplicación ya atiende tantas solicitudes a la vez como debe",
	[FAULT_TOTAL_CROWD] = "Las aplicaciones de este propietario ya atienden tantas solicitudes a la vez como permite su cuota",
	[FAULT_BODY] = "La solicitud es más grande de lo que admite la aplicación",
	[FAULT_TIME] = "La solicitud duró más de lo que permite la aplicación",
 }, {
	[TODO_REPEAT] = "Repetir la misma solicitud no servirá de nada.",
	[TODO_LINE] = "Inténtelo de nuevo con una conexión mejor.",
	[TODO_RETRY] = "Inténtelo de nuevo en un momento.",
	[TODO_LATER] = "Inténtelo de nuevo más tarde.",
	[TODO_ADDRESS] = "Compruebe la dirección.",
	[TODO_OWNER] = "Su propietario puede reanudarla.",
	[TODO_RELOAD] = "Recargue la página.",
	[TODO_HTTP] = "Escriba http:// delante de la dirección.",
	[TODO_FOLLOW] = "Siga la nueva dirección.",
 }},
{"pt", "Pedido", "Detalhes", {
	[FAULT_REQUEST] = "O pedido não respeita as regras do HTTP",
	[FAULT_SLOW_REQUEST] = "O pedido chegou demasiado devagar",
	[FAULT_UNKNOWN_HOST] = "Não existe nenhuma aplicação com este nome",
	[FAULT_APP_REFUSED] = "A aplicação não aceita ligações",
	[FAULT_APP_CLOSED] = "A aplicação fechou a ligação sem responder",
	[FAULT_APP_BAD_ANSWER] = "A resposta da aplicação não respeita as regras do HTTP",
	[FAULT_APP_SLOW] = "A aplicação não respondeu a tempo",
	[FAULT_APP_SLOW_CONNECT] = "A aplicação não aceita novas ligações",
	[FAULT_APP_EMPTY] = "Neste momento nada desta aplicação está em execução",
	[FAULT_APP_CRASHED] = "A aplicação falha repetidamente",
	[FAULT_APP_PAUSED] = "A aplicação está em pausa",
	[FAULT_APP_WAITED] = "A aplicação não arrancou a tempo",
	[FAULT_APP_CROWDED] = "Há demasiados pedidos à espera desta aplicação",
	[FAULT_APP_BUSY] = "A aplicação está sobrecarregada",
	[FAULT_CONTROL_AWAY] = "A administração está a reiniciar",
	[FAULT_BUSY] = "Faltam ligações ou memória a este servidor",
	[FAULT_MISDIRECTED] = "A ligação foi aberta para outro nome",
	[FAULT_HTTPS_OFF] = "Esta aplicação não está disponível por https",
	[FAULT_TO_HTTPS] = "Esta aplicação está disponível por https",
	[FAULT_APP_GONE] = "Não existe nenhuma aplicação com este nome",
	[FAULT_PATH] = "O caminho pode ser lido de mais de uma maneira",
	[FAULT_ADDRESS] = "A aplicação não serve o seu endereço",
	[FAULT_MAINTENANCE] = "A aplicação está em manutenção",
	[FAULT_AUTH] = "A aplicação pede um nome e uma palavra-passe",
	[FAULT_GUESSES] = "Vieram demasiadas palavras-passe erradas do seu endereço",
	[FAULT_CLIENT_RATE] = "Vieram demasiados pedidos do seu endereço",
	[FAULT_RATE] = "A aplicação recebe mais pedidos do que deve servir",
	[FAULT_TOTAL_RATE] = "As aplicações deste proprietário recebem mais pedidos do que a sua quota permite",
	[FAULT_CROWD] = "A aplicação já serve tantos pedidos ao mesmo tempo quantos deve",
	[FAULT_TOTAL_CROWD] = "As aplicações deste proprietário já servem tantos pedidos ao mesmo tempo quantos a sua quota permite",
	[FAULT_BODY] = "O pedido é maior do que a aplicação aceita",
	[FAULT_TIME] = "O pedido demorou mais do que a aplicação permite",
 }, {
	[TODO_REPEAT] = "Repetir o mesmo pedido não vai ajudar.",
	[TODO_LINE] = "Tente de novo com uma ligação melhor.",
	[TODO_RETRY] = "Tente de novo dentro de momentos.",
	[TODO_LATER] = "Tente de novo mais tarde.",
	[TODO_ADDRESS] = "Verifique o endereço.",
	[TODO_OWNER] = "O proprietário pode retomá-la.",
	[TODO_RELOAD] = "Recarregue a página.",
	[TODO_HTTP] = "Escreva http:// antes do endereço.",
	[TODO_FOLLOW] = "Siga o novo endereço.",
 }},
{"it", "Richiesta", "Dettagli", {
	[FAULT_REQUEST] = "La richiesta viola le regole di HTTP",
	[FAULT_SLOW_REQUEST] = "La richiesta è arrivata troppo lentamente",
	[FAULT_UNKNOWN_HOST] = "Nessuna app esiste con questo nome",
	[FAULT_APP_REFUSED] = "L’app non accetta connessioni",
	[FAULT_APP_CLOSED] = "L’app ha chiuso la connessione senza rispondere",
	[FAULT_APP_BAD_ANSWER] = "La risposta dell’app viola le regole di HTTP",
	[FAULT_APP_SLOW] = "L’app non ha risposto in tempo",
	[FAULT_APP_SLOW_CONNECT] = "L’app non accetta nuove connessioni",
	[FAULT_APP_EMPTY] = "Al momento nulla di questa app è in esecuzione",
	[FAULT_APP_CRASHED] = "L’app continua a bloccarsi",
	[FAULT_APP_PAUSED] = "L’app è in pausa",
	[FAULT_APP_WAITED] = "L’app non è partita in tempo",
	[FAULT_APP_CROWDED] = "Troppe richieste aspettano questa app",
	[FAULT_APP_BUSY] = "L’app è sovraccarica",
	[FAULT_CONTROL_AWAY] = "L’amministrazione si sta riavviando",
	[FAULT_BUSY] = "A questo server mancano connessioni o memoria",
	[FAULT_MISDIRECTED] = "La connessione è stata aperta per un altro nome",
	[FAULT_HTTPS_OFF] = "Questa app non è disponibile tramite https",
	[FAULT_TO_HTTPS] = "Questa app è disponibile tramite https",
	[FAULT_APP_GONE] = "Nessuna app esiste con questo nome",
	[FAULT_PATH] = "Il percorso si può leggere in più di un modo",
	[FAULT_ADDRESS] = "L’app non serve il tuo indirizzo",
	[FAULT_MAINTENANCE] = "L’app è in manutenzione",
	[FAULT_AUTH] = "L’app chiede un nome e una password",
	[FAULT_GUESSES] = "Dal tuo indirizzo sono arrivate troppe password errate",
	[FAULT_CLIENT_RATE] = "Dal tuo indirizzo sono arrivate troppe richieste",
	[FAULT_RATE] = "L’app riceve più richieste di quante ne debba servire",
	[FAULT_TOTAL_RATE] = "Le app di questo proprietario ricevono più richieste di quante ne permetta la loro quota",
	[FAULT_CROWD] = "L’app serve già tante richieste insieme quante deve",
	[FAULT_TOTAL_CROWD] = "Le app di questo proprietario servono già tante richieste insieme quante ne permette la loro quota",
	[FAULT_BODY] = "La richiesta è più grande di quanto l’app accetti",
	[FAULT_TIME] = "La richiesta è durata più di quanto l’app permetta",
 }, {
	[TODO_REPEAT] = "Ripetere la stessa richiesta non servirà.",
	[TODO_LINE] = "Riprova con una connessione migliore.",
	[TODO_RETRY] = "Riprova fra un momento.",
	[TODO_LATER] = "Riprova più tardi.",
	[TODO_ADDRESS] = "Controlla l’indirizzo.",
	[TODO_OWNER] = "Il proprietario può riattivarla.",
	[TODO_RELOAD] = "Ricarica la pagina.",
	[TODO_HTTP] = "Scrivi http:// davanti all’indirizzo.",
	[TODO_FOLLOW] = "Segui il nuovo indirizzo.",
 }},
{"nl", "Verzoek", "Details", {
	[FAULT_REQUEST] = "Het verzoek houdt zich niet aan de regels van HTTP",
	[FAULT_SLOW_REQUEST] = "Het verzoek kwam te langzaam binnen",
	[FAULT_UNKNOWN_HOST] = "Onder deze naam bestaat geen app",
	[FAULT_APP_REFUSED] = "De app neemt geen verbindingen aan",
	[FAULT_APP_CLOSED] = "De app heeft de verbinding zonder antwoord verbroken",
	[FAULT_APP_BAD_ANSWER] = "Het antwoord van de app houdt zich niet aan de regels van HTTP",
	[FAULT_APP_SLOW] = "De app heeft niet op tijd geantwoord",
	[FAULT_APP_SLOW_CONNECT] = "De app neemt geen nieuwe verbindingen aan",
	[FAULT_APP_EMPTY] = "Van de app draait nu niets",
	[FAULT_APP_CRASHED] = "De app crasht steeds opnieuw",
	[FAULT_APP_PAUSED] = "De app is gepauzeerd",
	[FAULT_APP_WAITED] = "De app is niet op tijd gestart",
	[FAULT_APP_CROWDED] = "Te veel verzoeken wachten op deze app",
	[FAULT_APP_BUSY] = "De app is overbelast",
	[FAULT_CONTROL_AWAY] = "Het beheer wordt opnieuw gestart",
	[FAULT_BUSY] = "Deze server heeft te weinig verbindingen of geheugen",
	[FAULT_MISDIRECTED] = "De verbinding is voor een andere naam geopend",
	[FAULT_HTTPS_OFF] = "Deze app is niet via https bereikbaar",
	[FAULT_TO_HTTPS] = "Deze app is via https bereikbaar",
	[FAULT_APP_GONE] = "Onder deze naam bestaat geen app",
	[FAULT_PATH] = "Het pad is op meer dan één manier te lezen",
	[FAULT_ADDRESS] = "De app bedient uw adres niet",
	[FAULT_MAINTENANCE] = "Er wordt aan de app gewerkt",
	[FAULT_AUTH] = "De app vraagt om een naam en een wachtwoord",
	[FAULT_GUESSES] = "Vanaf uw adres kwamen te veel verkeerde wachtwoorden",
	[FAULT_CLIENT_RATE] = "Vanaf uw adres kwamen te veel verzoeken",
	[FAULT_RATE] = "De app krijgt meer verzoeken dan ze mag bedienen",
	[FAULT_TOTAL_RATE] = "De apps van deze eigenaar krijgen meer verzoeken dan hun quotum toestaat",
	[FAULT_CROWD] = "De app bedient al zoveel verzoeken tegelijk als ze mag",
	[FAULT_TOTAL_CROWD] = "De apps van deze eigenaar bedienen al zoveel verzoeken tegelijk als hun quotum toestaat",
	[FAULT_BODY] = "Het verzoek is groter dan de app aanneemt",
	[FAULT_TIME] = "Het verzoek duurde langer dan de app toestaat",
 }, {
	[TODO_REPEAT] = "Hetzelfde verzoek herhalen helpt niet.",
	[TODO_LINE] = "Probeer het opnieuw met een betere verbinding.",
	[TODO_RETRY] = "Probeer het zo meteen opnieuw.",
	[TODO_LATER] = "Probeer het later opnieuw.",
	[TODO_ADDRESS] = "Controleer het adres.",
	[TODO_OWNER] = "De eigenaar kan haar hervatten.",
	[TODO_RELOAD] = "Laad de pagina opnieuw.",
	[TODO_HTTP] = "Schrijf http:// voor het adres.",
	[TODO_FOLLOW] = "Volg het nieuwe adres.",
 }},
{"pl", "Żądanie", "Szczegóły", {
	[FAULT_REQUEST] = "Żądanie narusza zasady HTTP",
	[FAULT_SLOW_REQUEST] = "Żądanie nadchodziło zbyt wolno",
	[FAULT_UNKNOWN_HOST] = "Pod tą nazwą nie ma żadnej aplikacji",
	[FAULT_APP_REFUSED] = "Aplikacja nie przyjmuje połączeń",
	[FAULT_APP_CLOSED] = "Aplikacja zamknęła połączenie bez odpowiedzi",
	[FAULT_APP_BAD_ANSWER] = "Odpowiedź aplikacji narusza zasady HTTP",
	[FAULT_APP_SLOW] = "Aplikacja nie odpowiedziała na czas",
	[FAULT_APP_SLOW_CONNECT] = "Aplikacja nie przyjmuje nowych połączeń",
	[FAULT_APP_EMPTY] = "Obecnie nic z tej aplikacji nie działa",
	[FAULT_APP_CRASHED] = "Aplikacja stale ulega awarii",
	[FAULT_APP_PAUSED] = "Aplikacja jest wstrzymana",
	[FAULT_APP_WAITED] = "Aplikacja nie uruchomiła się na czas",
	[FAULT_APP_CROWDED] = "Zbyt wiele żądań czeka na tę aplikację",
	[FAULT_APP_BUSY] = "Aplikacja jest przeciążona",
	[FAULT_CONTROL_AWAY] = "Panel zarządzania jest właśnie uruchamiany ponownie",
	[FAULT_BUSY] = "Temu serwerowi brakuje połączeń lub pamięci",
	[FAULT_MISDIRECTED] = "Połączenie otwarto dla innej nazwy",
	[FAULT_HTTPS_OFF] = "Ta aplikacja nie jest dostępna przez https",
	[FAULT_TO_HTTPS] = "Ta aplikacja jest dostępna przez https",
	[FAULT_APP_GONE] = "Pod tą nazwą nie ma żadnej aplikacji",
	[FAULT_PATH] = "Ścieżkę można odczytać na więcej niż jeden sposób",
	[FAULT_ADDRESS] = "Aplikacja nie obsługuje Twojego adresu",
	[FAULT_MAINTENANCE] = "Trwają prace nad aplikacją",
	[FAULT_AUTH] = "Aplikacja wymaga nazwy i hasła",
	[FAULT_GUESSES] = "Z Twojego adresu przyszło zbyt wiele błędnych haseł",
	[FAULT_CLIENT_RATE] = "Z Twojego adresu przyszło zbyt wiele żądań",
	[FAULT_RATE] = "Aplikacja dostaje więcej żądań, niż ma obsługiwać",
	[FAULT_TOTAL_RATE] = "Aplikacje tego właściciela dostają więcej żądań, niż pozwala ich limit",
	[FAULT_CROWD] = "Aplikacja obsługuje już tyle żądań naraz, ile ma obsługiwać",
	[FAULT_TOTAL_CROWD] = "Aplikacje tego właściciela obsługują już tyle żądań naraz, na ile pozwala ich limit",
	[FAULT_BODY] = "Żądanie jest większe, niż przyjmuje aplikacja",
	[FAULT_TIME] = "Żądanie trwało dłużej, niż pozwala aplikacja",
 }, {
	[TODO_REPEAT] = "Powtórzenie tego samego żądania nie pomoże.",
	[TODO_LINE] = "Spróbuj ponownie przy lepszym połączeniu.",
	[TODO_RETRY] = "Spróbuj ponownie za chwilę.",
	[TODO_LATER] = "Spróbuj ponownie później.",
	[TODO_ADDRESS] = "Sprawdź adres.",
	[TODO_OWNER] = "Jej właściciel może ją wznowić.",
	[TODO_RELOAD] = "Odśwież stronę.",
	[TODO_HTTP] = "Wpisz http:// przed adresem.",
	[TODO_FOLLOW] = "Przejdź pod nowy adres.",
 }},
{"ru", "Запрос", "Подробности", {
	[FAULT_REQUEST] = "Запрос нарушает правила HTTP",
	[FAULT_SLOW_REQUEST] = "Запрос поступал слишком медленно",
	[FAULT_UNKNOWN_HOST] = "Под этим именем нет приложения",
	[FAULT_APP_REFUSED] = "Приложение не принимает соединения",
	[FAULT_APP_CLOSED] = "Приложение закрыло соединение, не ответив",
	[FAULT_APP_BAD_ANSWER] = "Ответ приложения нарушает правила HTTP",
	[FAULT_APP_SLOW] = "Приложение не ответило вовремя",
	[FAULT_APP_SLOW_CONNECT] = "Приложение не принимает новые соединения",
	[FAULT_APP_EMPTY] = "Приложение сейчас не запущено",
	[FAULT_APP_CRASHED] = "Приложение постоянно аварийно завершается",
	[FAULT_APP_PAUSED] = "Приложение приостановлено",
	[FAULT_APP_WAITED] = "Приложение не запустилось вовремя",
	[FAULT_APP_CROWDED] = "Слишком много запросов ждут это приложение",
	[FAULT_APP_BUSY] = "Приложение перегружено",
	[FAULT_CONTROL_AWAY] = "Система управления перезапускается",
	[FAULT_BUSY] = "Этому серверу не хватает соединений или памяти",
	[FAULT_MISDIRECTED] = "Соединение было открыто для другого имени",
	[FAULT_HTTPS_OFF] = "Это приложение недоступно по https",
	[FAULT_TO_HTTPS] = "Это приложение доступно по https",
	[FAULT_APP_GONE] = "Под этим именем нет приложения",
	[FAULT_PATH] = "Путь можно прочитать по-разному",
	[FAULT_ADDRESS] = "Приложение не обслуживает ваш адрес",
	[FAULT_MAINTENANCE] = "На приложении ведутся работы",
	[FAULT_AUTH] = "Приложение требует имя и пароль",
	[FAULT_GUESSES] = "С вашего адреса пришло слишком много неверных паролей",
	[FAULT_CLIENT_RATE] = "С вашего адреса пришло слишком много запросов",
	[FAULT_RATE] = "Приложение получает больше запросов, чем должно обслуживать",
	[FAULT_TOTAL_RATE] = "Приложения этого владельца получают больше запросов, чем позволяет их квота",
	[FAULT_CROWD] = "Приложение уже обслуживает столько запросов одновременно, сколько должно",
	[FAULT_TOTAL_CROWD] = "Приложения этого владельца уже обслуживают столько запросов одновременно, сколько позволяет их квота",
	[FAULT_BODY] = "Запрос больше, чем принимает приложение",
	[FAULT_TIME] = "Запрос длился дольше, чем позволяет приложение",
 }, {
	[TODO_REPEAT] = "Повтор того же запроса не поможет.",
	[TODO_LINE] = "Повторите попытку при лучшем соединении.",
	[TODO_RETRY] = "Повторите попытку через мгновение.",
	[TODO_LATER] = "Повторите попытку позже.",
	[TODO_ADDRESS] = "Проверьте адрес.",
	[TODO_OWNER] = "Владелец может возобновить его работу.",
	[TODO_RELOAD] = "Обновите страницу.",
	[TODO_HTTP] = "Напишите http:// перед адресом.",
	[TODO_FOLLOW] = "Перейдите по новому адресу.",
 }},
{"uk", "Запит", "Подробиці", {
	[FAULT_REQUEST] = "Запит порушує правила HTTP",
	[FAULT_SLOW_REQUEST] = "Запит надходив надто повільно",
	[FAULT_UNKNOWN_HOST] = "Під цим іменем немає застосунку",
	[FAULT_APP_REFUSED] = "Застосунок не приймає з’єднань",
	[FAULT_APP_CLOSED] = "Застосунок закрив з’єднання без відповіді",
	[FAULT_APP_BAD_ANSWER] = "Відповідь застосунку порушує правила HTTP",
	[FAULT_APP_SLOW] = "Застосунок не відповів вчасно",
	[FAULT_APP_SLOW_CONNECT] = "Застосунок не приймає нових з’єднань",
	[FAULT_APP_EMPTY] = "Застосунок зараз не запущено",
	[FAULT_APP_CRASHED] = "Застосунок постійно аварійно завершується",
	[FAULT_APP_PAUSED] = "Застосунок призупинено",
	[FAULT_APP_WAITED] = "Застосунок не запустився вчасно",
	[FAULT_APP_CROWDED] = "Забагато запитів чекають на цей застосунок",
	[FAULT_APP_BUSY] = "Застосунок перевантажено",
	[FAULT_CONTROL_AWAY] = "Система керування перезапускається",
	[FAULT_BUSY] = "Цьому серверу бракує з’єднань або пам’яті",
	[FAULT_MISDIRECTED] = "З’єднання було відкрито для іншого імені",
	[FAULT_HTTPS_OFF] = "Цей застосунок недоступний через https",
	[FAULT_TO_HTTPS] = "Цей застосунок доступний через https",
	[FAULT_APP_GONE] = "Під цим іменем немає застосунку",
	[FAULT_PATH] = "Шлях можна прочитати по-різному",
	[FAULT_ADDRESS] = "Застосунок не обслуговує вашу адресу",
	[FAULT_MAINTENANCE] = "Над застосунком зараз працюють",
	[FAULT_AUTH] = "Застосунок вимагає ім’я та пароль",
	[FAULT_GUESSES] = "З вашої адреси надійшло забагато неправильних паролів",
	[FAULT_CLIENT_RATE] = "З вашої адреси надійшло забагато запитів",
	[FAULT_RATE] = "Застосунок отримує більше запитів, ніж має обслуговувати",
	[FAULT_TOTAL_RATE] = "Застосунки цього власника отримують більше запитів, ніж дозволяє їхня квота",
	[FAULT_CROWD] = "Застосунок уже обслуговує стільки запитів водночас, скільки має",
	[FAULT_TOTAL_CROWD] = "Застосунки цього власника вже обслуговують стільки запитів водночас, скільки дозволяє їхня квота",
	[FAULT_BODY] = "Запит більший, ніж приймає застосунок",
	[FAULT_TIME] = "Запит тривав довше, ніж дозволяє застосунок",
 }, {
	[TODO_REPEAT] = "Повторення того самого запиту не допоможе.",
	[TODO_LINE] = "Спробуйте ще раз за кращого з’єднання.",
	[TODO_RETRY] = "Спробуйте ще раз за мить.",
	[TODO_LATER] = "Спробуйте пізніше.",
	[TODO_ADDRESS] = "Перевірте адресу.",
	[TODO_OWNER] = "Власник може відновити його роботу.",
	[TODO_RELOAD] = "Оновіть сторінку.",
	[TODO_HTTP] = "Напишіть http:// перед адресою.",
	[TODO_FOLLOW] = "Перейдіть за новою адресою.",
 }},
{"tr", "İstek", "Ayrıntılar", {
	[FAULT_REQUEST] = "İstek HTTP kurallarına uymuyor",
	[FAULT_SLOW_REQUEST] = "İstek çok yavaş geldi",
	[FAULT_UNKNOWN_HOST] = "Bu adla bir uygulama yok",
	[FAULT_APP_REFUSED] = "Uygulama bağlantı kabul etmiyor",
	[FAULT_APP_CLOSED] = "Uygulama yanıt vermeden bağlantıyı kapattı",
	[FAULT_APP_BAD_ANSWER] = "Uygulamanın yanıtı HTTP kurallarına uymuyor",
	[FAULT_APP_SLOW] = "Uygulama zamanında yanıt vermedi",
	[FAULT_APP_SLOW_CONNECT] = "Uygulama yeni bağlantı kabul etmiyor",
	[FAULT_APP_EMPTY] = "Bu uygulamanın şu anda çalışan bir örneği yok",
	[FAULT_APP_CRASHED] = "Uygulama sürekli çöküyor",
	[FAULT_APP_PAUSED] = "Uygulama duraklatıldı",
	[FAULT_APP_WAITED] = "Uygulama zamanında başlamadı",
	[FAULT_APP_CROWDED] = "Bu uygulamayı bekleyen çok fazla istek var",
	[FAULT_APP_BUSY] = "Uygulama aşırı yüklü",
	[FAULT_CONTROL_AWAY] = "Yönetim sistemi yeniden başlatılıyor",
	[FAULT_BUSY] = "Bu sunucunun bağlantısı veya belleği tükendi",
	[FAULT_MISDIRECTED] = "Bağlantı başka bir ad için açılmış",
	[FAULT_HTTPS_OFF] = "Bu uygulama https ile sunulmuyor",
	[FAULT_TO_HTTPS] = "Bu uygulama https ile sunuluyor",
	[FAULT_APP_GONE] = "Bu adla bir uygulama yok",
	[FAULT_PATH] = "Yol birden fazla şekilde okunabilir",
	[FAULT_ADDRESS] = "Uygulama sizin adresinize hizmet vermiyor",
	[FAULT_MAINTENANCE] = "Uygulama üzerinde çalışılıyor",
	[FAULT_AUTH] = "Uygulama bir ad ve parola istiyor",
	[FAULT_GUESSES] = "Adresinizden çok fazla yanlış parola geldi",
	[FAULT_CLIENT_RATE] = "Adresinizden çok fazla istek geldi",
	[FAULT_RATE] = "Uygulama, hizmet vermesi gerekenden fazla istek alıyor",
	[FAULT_TOTAL_RATE] = "Bu sahibin uygulamaları, kotalarının izin verdiğinden fazla istek alıyor",
	[FAULT_CROWD] = "Uygulama aynı anda izin verilen kadar isteğe zaten hizmet veriyor",
	[FAULT_TOTAL_CROWD] = "Bu sahibin uygulamaları aynı anda kotalarının izin verdiği kadar isteğe zaten hizmet veriyor",
	[FAULT_BODY] = "İstek, uygulamanın kabul ettiğinden daha büyük",
	[FAULT_TIME] = "İstek, uygulamanın izin verdiğinden uzun sürdü",
 }, {
	[TODO_REPEAT] = "Aynı isteği yinelemek işe yaramaz.",
	[TODO_LINE] = "Daha iyi bir bağlantıyla yeniden deneyin.",
	[TODO_RETRY] = "Birazdan yeniden deneyin.",
	[TODO_LATER] = "Daha sonra yeniden deneyin.",
	[TODO_ADDRESS] = "Adresi denetleyin.",
	[TODO_OWNER] = "Sahibi onu sürdürebilir.",
	[TODO_RELOAD] = "Sayfayı yenileyin.",
	[TODO_HTTP] = "Adresin önüne http:// yazın.",
	[TODO_FOLLOW] = "Yeni adresi izleyin.",
 }},
{"ja", "リクエスト", "詳細", {
	[FAULT_REQUEST] = "リクエストが HTTP の規則に違反しています",
	[FAULT_SLOW_REQUEST] = "リクエストの到着が遅すぎました",
	[FAULT_UNKNOWN_HOST] = "この名前のアプリはありません",
	[FAULT_APP_REFUSED] = "アプリが接続を受け付けていません",
	[FAULT_APP_CLOSED] = "アプリが応答せずに接続を閉じました",
	[FAULT_APP_BAD_ANSWER] = "アプリの応答が HTTP の規則に違反しています",
	[FAULT_APP_SLOW] = "アプリが時間内に応答しませんでした",
	[FAULT_APP_SLOW_CONNECT] = "アプリが新しい接続を受け付けていません",
	[FAULT_APP_EMPTY] = "このアプリは現在動いていません",
	[FAULT_APP_CRASHED] = "アプリが何度も異常終了しています",
	[FAULT_APP_PAUSED] = "アプリは一時停止中です",
	[FAULT_APP_WAITED] = "アプリが時間内に起動しませんでした",
	[FAULT_APP_CROWDED] = "このアプリを待っているリクエストが多すぎます",
	[FAULT_APP_BUSY] = "アプリが混み合っています",
	[FAULT_CONTROL_AWAY] = "管理システムを再起動しています",
	[FAULT_BUSY] = "このサーバーの接続またはメモリが不足しています",
	[FAULT_MISDIRECTED] = "接続は別の名前のために開かれたものです",
	[FAULT_HTTPS_OFF] = "このアプリは https では提供されていません",
	[FAULT_TO_HTTPS] = "このアプリは https で提供されています",
	[FAULT_APP_GONE] = "この名前のアプリはありません",
	[FAULT_PATH] = "パスが複数の意味に解釈できます",
	[FAULT_ADDRESS] = "このアプリはお使いのアドレスには応答しません",
	[FAULT_MAINTENANCE] = "アプリはメンテナンス中です",
	[FAULT_AUTH] = "このアプリには名前とパスワードが必要です",
	[FAULT_GUESSES] = "お使いのアドレスから誤ったパスワードが多すぎます",
	[FAULT_CLIENT_RATE] = "お使いのアドレスからのリクエストが多すぎます",
	[FAULT_RATE] = "アプリが処理する設定を超えるリクエストが届いています",
	[FAULT_TOTAL_RATE] = "この所有者のアプリに、割り当てを超えるリクエストが届いています",
	[FAULT_CROWD] = "アプリは設定された同時リクエスト数に達しています",
	[FAULT_TOTAL_CROWD] = "この所有者のアプリは、割り当てられた同時リクエスト数に達しています",
	[FAULT_BODY] = "リクエストがアプリの受け付ける大きさを超えています",
	[FAULT_TIME] = "リクエストがアプリの許す時間を超えました",
 }, {
	[TODO_REPEAT] = "同じリクエストを繰り返しても解決しません。",
	[TODO_LINE] = "より良い回線で、もう一度お試しください。",
	[TODO_RETRY] = "少し待ってから、もう一度お試しください。",
	[TODO_LATER] = "後でもう一度お試しください。",
	[TODO_ADDRESS] = "アドレスをご確認ください。",
	[TODO_OWNER] = "所有者が再開できます。",
	[TODO_RELOAD] = "ページを再読み込みしてください。",
	[TODO_HTTP] = "アドレスの前に http:// を付けてください。",
	[TODO_FOLLOW] = "新しいアドレスへ進んでください。",
 }},
{"ko", "요청", "자세히", {
	[FAULT_REQUEST] = "요청이 HTTP 규칙에 맞지 않습니다",
	[FAULT_SLOW_REQUEST] = "요청이 너무 느리게 도착했습니다",
	[FAULT_UNKNOWN_HOST] = "이 이름의 앱이 없습니다",
	[FAULT_APP_REFUSED] = "앱이 연결을 받지 않습니다",
	[FAULT_APP_CLOSED] = "앱이 응답 없이 연결을 닫았습니다",
	[FAULT_APP_BAD_ANSWER] = "앱의 응답이 HTTP 규칙에 맞지 않습니다",
	[FAULT_APP_SLOW] = "앱이 제때 응답하지 않았습니다",
	[FAULT_APP_SLOW_CONNECT] = "앱이 새 연결을 받지 않습니다",
	[FAULT_APP_EMPTY] = "이 앱은 현재 실행되고 있지 않습니다",
	[FAULT_APP_CRASHED] = "앱이 계속 비정상 종료됩니다",
	[FAULT_APP_PAUSED] = "앱이 일시 중지되었습니다",
	[FAULT_APP_WAITED] = "앱이 제때 시작되지 않았습니다",
	[FAULT_APP_CROWDED] = "이 앱을 기다리는 요청이 너무 많습니다",
	[FAULT_APP_BUSY] = "앱이 과부하 상태입니다",
	[FAULT_CONTROL_AWAY] = "관리 시스템을 다시 시작하는 중입니다",
	[FAULT_BUSY] = "이 서버의 연결 또는 메모리가 부족합니다",
	[FAULT_MISDIRECTED] = "다른 이름을 위해 열린 연결입니다",
	[FAULT_HTTPS_OFF] = "이 앱은 https로 제공되지 않습니다",
	[FAULT_TO_HTTPS] = "이 앱은 https로 제공됩니다",
	[FAULT_APP_GONE] = "이 이름의 앱이 없습니다",
	[FAULT_PATH] = "경로를 두 가지 이상으로 해석할 수 있습니다",
	[FAULT_ADDRESS] = "앱이 귀하의 주소에는 서비스를 제공하지 않습니다",
	[FAULT_MAINTENANCE] = "앱을 점검하고 있습니다",
	[FAULT_AUTH] = "앱에 이름과 비밀번호가 필요합니다",
	[FAULT_GUESSES] = "귀하의 주소에서 잘못된 비밀번호가 너무 많이 들어왔습니다",
	[FAULT_CLIENT_RATE] = "귀하의 주소에서 요청이 너무 많이 들어왔습니다",
	[FAULT_RATE] = "앱이 처리하도록 설정된 것보다 많은 요청이 들어오고 있습니다",
	[FAULT_TOTAL_RATE] = "이 소유자의 앱에 할당량보다 많은 요청이 들어오고 있습니다",
	[FAULT_CROWD] = "앱이 설정된 수만큼의 요청을 이미 동시에 처리하고 있습니다",
	[FAULT_TOTAL_CROWD] = "이 소유자의 앱이 할당량만큼의 요청을 이미 동시에 처리하고 있습니다",
	[FAULT_BODY] = "요청이 앱이 받는 크기보다 큽니다",
	[FAULT_TIME] = "요청이 앱이 허용하는 시간을 넘겼습니다",
 }, {
	[TODO_REPEAT] = "같은 요청을 반복해도 도움이 되지 않습니다.",
	[TODO_LINE] = "더 나은 연결에서 다시 시도해 주세요.",
	[TODO_RETRY] = "잠시 후 다시 시도해 주세요.",
	[TODO_LATER] = "나중에 다시 시도해 주세요.",
	[TODO_ADDRESS] = "주소를 확인해 주세요.",
	[TODO_OWNER] = "소유자가 다시 시작할 수 있습니다.",
	[TODO_RELOAD] = "페이지를 새로 고쳐 주세요.",
	[TODO_HTTP] = "주소 앞에 http://를 붙여 주세요.",
	[TODO_FOLLOW] = "새 주소로 이동해 주세요.",
 }},
{"zh-Hans", "请求", "详细信息", {
	[FAULT_REQUEST] = "请求不符合 HTTP 规则",
	[FAULT_SLOW_REQUEST] = "请求到达得太慢",
	[FAULT_UNKNOWN_HOST] = "没有使用此名称的应用",
	[FAULT_APP_REFUSED] = "应用不接受连接",
	[FAULT_APP_CLOSED] = "应用未作答复便关闭了连接",
	[FAULT_APP_BAD_ANSWER] = "应用的答复不符合 HTTP 规则",
	[FAULT_APP_SLOW] = "应用未能及时答复",
	[FAULT_APP_SLOW_CONNECT] = "应用不接受新连接",
	[FAULT_APP_EMPTY] = "此应用目前没有在运行",
	[FAULT_APP_CRASHED] = "应用不断崩溃",
	[FAULT_APP_PAUSED] = "应用已暂停",
	[FAULT_APP_WAITED] = "应用未能及时启动",
	[FAULT_APP_CROWDED] = "等待此应用的请求过多",
	[FAULT_APP_BUSY] = "应用负载过重",
	[FAULT_CONTROL_AWAY] = "管理系统正在重新启动",
	[FAULT_BUSY] = "此服务器的连接或内存不足",
	[FAULT_MISDIRECTED] = "该连接是为另一个名称打开的",
	[FAULT_HTTPS_OFF] = "此应用不通过 https 提供服务",
	[FAULT_TO_HTTPS] = "此应用通过 https 提供服务",
	[FAULT_APP_GONE] = "没有使用此名称的应用",
	[FAULT_PATH] = "该路径可以有多种解读",
	[FAULT_ADDRESS] = "此应用不为您的地址提供服务",
	[FAULT_MAINTENANCE] = "此应用正在维护",
	[FAULT_AUTH] = "此应用需要用户名和密码",
	[FAULT_GUESSES] = "来自您的地址的错误密码过多",
	[FAULT_CLIENT_RATE] = "来自您的地址的请求过多",
	[FAULT_RATE] = "此应用收到的请求超过了设定的数量",
	[FAULT_TOTAL_RATE] = "该所有者的应用收到的请求超过了配额",
	[FAULT_CROWD] = "此应用同时处理的请求已达到设定的数量",
	[FAULT_TOTAL_CROWD] = "该所有者的应用同时处理的请求已达到配额",
	[FAULT_BODY] = "请求超过了此应用接受的大小",
	[FAULT_TIME] = "请求超过了此应用允许的时间",
 }, {
	[TODO_REPEAT] = "重复同样的请求没有用。",
	[TODO_LINE] = "请在更好的网络下重试。",
	[TODO_RETRY] = "请稍等片刻再试。",
	[TODO_LATER] = "请稍后再试。",
	[TODO_ADDRESS] = "请检查地址。",
	[TODO_OWNER] = "其所有者可以恢复它。",
	[TODO_RELOAD] = "请刷新页面。",
	[TODO_HTTP] = "请在地址前加上 http://。",
	[TODO_FOLLOW] = "请前往新地址。",
 }},
{"zh-Hant", "請求", "詳細資訊", {
	[FAULT_REQUEST] = "請求不符合 HTTP 規則",
	[FAULT_SLOW_REQUEST] = "請求到達得太慢",
	[FAULT_UNKNOWN_HOST] = "沒有使用此名稱的應用程式",
	[FAULT_APP_REFUSED] = "應用程式不接受連線",
	[FAULT_APP_CLOSED] = "應用程式未作答覆便關閉了連線",
	[FAULT_APP_BAD_ANSWER] = "應用程式的答覆不符合 HTTP 規則",
	[FAULT_APP_SLOW] = "應用程式未能及時答覆",
	[FAULT_APP_SLOW_CONNECT] = "應用程式不接受新連線",
	[FAULT_APP_EMPTY] = "此應用程式目前沒有在執行",
	[FAULT_APP_CRASHED] = "應用程式不斷當機",
	[FAULT_APP_PAUSED] = "應用程式已暫停",
	[FAULT_APP_WAITED] = "應用程式未能及時啟動",
	[FAULT_APP_CROWDED] = "等待此應用程式的請求過多",
	[FAULT_APP_BUSY] = "應用程式負載過重",
	[FAULT_CONTROL_AWAY] = "管理系統正在重新啟動",
	[FAULT_BUSY] = "此伺服器的連線或記憶體不足",
	[FAULT_MISDIRECTED] = "該連線是為另一個名稱開啟的",
	[FAULT_HTTPS_OFF] = "此應用程式不透過 https 提供服務",
	[FAULT_TO_HTTPS] = "此應用程式透過 https 提供服務",
	[FAULT_APP_GONE] = "沒有使用此名稱的應用程式",
	[FAULT_PATH] = "該路徑可以有多種解讀",
	[FAULT_ADDRESS] = "此應用程式不為您的位址提供服務",
	[FAULT_MAINTENANCE] = "此應用程式正在維護",
	[FAULT_AUTH] = "此應用程式需要使用者名稱和密碼",
	[FAULT_GUESSES] = "來自您的位址的錯誤密碼過多",
	[FAULT_CLIENT_RATE] = "來自您的位址的請求過多",
	[FAULT_RATE] = "此應用程式收到的請求超過了設定的數量",
	[FAULT_TOTAL_RATE] = "該擁有者的應用程式收到的請求超過了配額",
	[FAULT_CROWD] = "此應用程式同時處理的請求已達到設定的數量",
	[FAULT_TOTAL_CROWD] = "該擁有者的應用程式同時處理的請求已達到配額",
	[FAULT_BODY] = "請求超過了此應用程式接受的大小",
	[FAULT_TIME] = "請求超過了此應用程式允許的時間",
 }, {
	[TODO_REPEAT] = "重複同樣的請求沒有用。",
	[TODO_LINE] = "請在更好的網路下重試。",
	[TODO_RETRY] = "請稍等片刻再試。",
	[TODO_LATER] = "請稍後再試。",
	[TODO_ADDRESS] = "請檢查網址。",
	[TODO_OWNER] = "其擁有者可以恢復它。",
	[TODO_RELOAD] = "請重新整理頁面。",
	[TODO_HTTP] = "請在網址前加上 http://。",
	[TODO_FOLLOW] = "請前往新網址。",
 }},
};
/* clang-format on */

enum fault_todo fault_todo_of(enum fault f)
{
	static const uint8_t todo[FAULT_COUNT] = {
		[FAULT_REQUEST] = TODO_REPEAT,	     [FAULT_SLOW_REQUEST] = TODO_LINE,
		[FAULT_UNKNOWN_HOST] = TODO_ADDRESS, [FAULT_APP_GONE] = TODO_ADDRESS,
		[FAULT_APP_CLOSED] = TODO_LATER,     [FAULT_APP_BAD_ANSWER] = TODO_LATER,
		[FAULT_APP_SLOW] = TODO_LATER,	     [FAULT_APP_EMPTY] = TODO_LATER,
		[FAULT_APP_CRASHED] = TODO_LATER,    [FAULT_APP_PAUSED] = TODO_OWNER,
		[FAULT_MISDIRECTED] = TODO_RELOAD,   [FAULT_HTTPS_OFF] = TODO_HTTP,
		[FAULT_TO_HTTPS] = TODO_FOLLOW,	     [FAULT_PATH] = TODO_REPEAT,
		[FAULT_ADDRESS] = TODO_REPEAT,	     [FAULT_MAINTENANCE] = TODO_LATER,
		[FAULT_AUTH] = TODO_RELOAD,	     [FAULT_BODY] = TODO_REPEAT,
		[FAULT_TIME] = TODO_LATER,
	};
	return (enum fault_todo)todo[f];
}

const struct fault_text *fault_text_row(size_t i)
{
	return i < ARRAY_LEN(texts) ? &texts[i] : NULL;
}

/* Chinese is told apart by script, which a region says as well. */
static bool text_is_traditional(const char *p, size_t n)
{
	static const char *const parts[] = {"Hant", "TW", "HK", "MO"};

	for (const char *end = p + n, *at = p; at < end;) {
		const char *dash = memchr(at, '-', (size_t)(end - at));
		size_t len = (size_t)((dash ? dash : end) - at);
		if (len == 4 && strncasecmp(at, "Hans", 4) == 0)
			return false;
		for (size_t i = 0; i < ARRAY_LEN(parts); i++)
			if (len == strlen(parts[i]) && strncasecmp(at, parts[i], len) == 0)
				return true;
		at += len + 1;
	}
	return false;
}

/* The row of a language range, cut down until one fits (RFC 4647, 3.4).  English and "*" are NULL with true. */
static bool text_find(const char *p, size_t n, const struct fault_text **ret)
{
	const char *dash = memchr(p, '-', n);
	size_t len = dash ? (size_t)(dash - p) : n;

	*ret = NULL;
	if ((len == 2 && strncasecmp(p, "en", 2) == 0) || (n == 1 && *p == '*'))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		size_t own = strcspn(texts[i].lang, "-");
		if (own != len || strncasecmp(texts[i].lang, p, len) != 0)
			continue;
		if (texts[i].lang[own] && (strcmp(texts[i].lang + own, "-Hant") == 0) != text_is_traditional(p, n))
			continue;
		*ret = &texts[i];
		return true;
	}
	return false;
}

/* Thousandths of a weight's text behind "q=", 0..1000; anything else than RFC 9110, 12.4.2 says counts as 0. */
static unsigned text_weight(const char *p, size_t n)
{
	unsigned v = 0;

	if (n == 0 || n > 5 || (p[0] != '0' && p[0] != '1') || (n > 1 && p[1] != '.'))
		return 0;
	for (size_t i = 2; i < 5; i++) {
		if (i < n && (p[i] < '0' || p[i] > '9'))
			return 0;
		v = v * 10 + (i < n ? (unsigned)(p[i] - '0') : 0);
	}
	v += p[0] == '1' ? 1000 : 0;
	return v > 1000 ? 0 : v;
}

static const char *text_skip(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* One element of the list: range, then perhaps ";q=0.8". */
static void text_element(const char *p, const char *end, struct fault_choice *c)
{
	const char *semi = memchr(p, ';', (size_t)(end - p)), *tail = semi ? semi : end;
	const struct fault_text *t;
	unsigned weight = 1000;

	p = text_skip(p, end);
	while (tail > p && (tail[-1] == ' ' || tail[-1] == '\t'))
		tail--;
	if (semi) {
		semi = text_skip(semi + 1, end);
		while (end > semi && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		weight = end - semi > 2 && (*semi | 0x20) == 'q' && semi[1] == '='
				 ? text_weight(semi + 2, (size_t)(end - semi - 2))
				 : 0;
	}
	/* Of equals the first. */
	if (tail > p && weight > c->weight && text_find(p, (size_t)(tail - p), &t)) {
		c->weight = weight;
		c->text = t;
	}
}

void fault_text_accept(const char *p, size_t n, struct fault_choice *c)
{
	const char *end = p + n;

	while (p < end && c->seen++ < FAULT_TEXT_ELEMENTS) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		text_element(p, comma ? comma : end, c);
		p = comma ? comma + 1 : end;
	}
}
