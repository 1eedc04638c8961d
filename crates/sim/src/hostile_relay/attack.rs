use clap::ValueEnum;

/// What a hostile relay does. `SECURITY.md` has a row for each, with what the users see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Attack {
    /// Does nothing, and prints all that it sees.
    Watch,

    // Sealed frames held back, and put elsewhere.
    /// Leaves out the frames of every third counter when they first pass.
    Drop,
    /// Leaves out one frame of each direction, the second that passes, whenever it is sent.
    DropOne,
    /// Passes on nothing sealed.
    DropAll,
    /// Passes each sealed frame on only when the next one comes, so that the last is never there.
    HoldLast,
    /// Holds each sealed frame back for a second and a half.
    Delay,
    /// Lets each two sealed frames of different counters change places.
    Reorder,
    /// Lets each two sealed frames of one counter, which are receipts, change places on their way to the caller.
    ReorderReceipts,
    /// Passes each sealed frame on twice.
    Duplicate,
    /// Passes each sealed frame on, and behind it all older ones of its direction once more.
    Replay,
    /// Sends each sealed frame back to the one who sent it, in place of what comes from the other.
    Reflect,
    /// Passes on sealed frames of earlier chats before each of this one, as they were.
    ReplayOldChat,
    /// Passes on sealed frames of an earlier chat, with this chat's id and the counter that is expected.
    ReplayOldChatRenamed,
    /// Sends whoever comes back with a chat all that was ever sent to them in it.
    ReplayAfterReturn,
    /// Crosses two chats: what is for one accepter gets to the other, as it is.
    Splice,
    /// Crosses two chats, with each frame's head rewritten to fit where it gets to.
    SpliceRenamed,

    // Sealed frames changed, and made up.
    /// Cuts off the last byte of sealed frames.
    TruncateFrame,
    /// Puts a byte behind sealed frames.
    ExtendFrame,
    /// Cuts off the last byte of what is sealed, and makes the length right.
    TruncateSealed,
    /// Puts a byte behind what is sealed, and makes the length right.
    ExtendSealed,
    /// Flips a bit of the code of sealed frames.
    FlipCode,
    /// Flips a bit of the version of sealed frames.
    FlipVersion,
    /// Flips a bit of the chat's id on sealed frames.
    FlipChat,
    /// Flips the last bit of the counter of sealed frames.
    FlipCounter,
    /// Flips the last bit of the acknowledgement of sealed frames.
    FlipAck,
    /// Flips a bit of what is sealed.
    FlipSealed,
    /// Leaves out all that one of the two says, and says on the other's frames that it has arrived.
    RaiseAck,
    /// Leaves out one sealed frame, and gives the next one its counter.
    Renumber,
    /// Makes up sealed frames, of random bytes.
    ForgeFrame,
    /// Makes up sealed frames in a group of the relay's own, with this chat's id and these two names.
    ForgeGroup,
    /// Makes up a goodbye, and says that the chat is over.
    ForgeGoodbye,

    // Keys.
    /// Puts keys of the relay's own in the place of both, sits in the middle, and prints all that is said.
    SwapKeys,
    /// Puts a key and package of the relay's own in the place of the accepter's.
    SwapAcceptersKey,
    /// Puts a key of the relay's own in the place of the caller's.
    SwapCallersKey,
    /// Hands out the accepter's true key, with a package of the relay's own.
    ForgePackage,
    /// Hands out the caller's true key, with the welcome to a group of the relay's own.
    ForgeWelcome,
    /// Hands out keys and packages anew, of the relay's own, to whoever is in a chat.
    SwapInChat,
    /// Hands out keys and packages anew, of the relay's own, to whoever comes back with a chat.
    SwapOnReturn,
    /// Asks users to talk in the name of another, accepts nothing but their answer, and talks to them.
    Impersonate,
    /// Answers a call with another user's key and package.
    OthersPackage,
    /// Answers a call with the accepter's key and another user's package.
    OthersPackageTrueKey,
    /// Hands an accepter the welcome that was made for another.
    OthersWelcome,
    /// Answers a call with the package that the same accepter made for an earlier chat.
    OldPackage,
    /// Hands an accepter the welcome of an earlier chat with the same caller.
    OldWelcome,
    /// Answers a call with the caller's own key, and a package that the caller made as accepter.
    OwnPackage,
    /// Sends each set-up frame back to the client that sent it.
    ReflectSetUp,
    /// Passes each set-up frame on twice.
    DuplicateSetUp,
    /// Puts a call through to another user than the one who is called.
    Redirect,
    /// Gives a request the name of another user.
    RenameRequest,
    /// Flips a bit of each key package and welcome.
    FlipSetUp,

    // What only the relay says: the list.
    /// Puts names on the list that nobody has.
    ListInvented,
    /// Puts the one who asks on the list.
    ListOneself,
    /// Has each name on the list twice.
    ListTwice,
    /// Turns the list round.
    ListUnsorted,
    /// Sends another part of the list than was asked for.
    ListOtherPart,
    /// Puts escape sequences into names of the list.
    ListEscapes,
    /// Puts characters that turn text round into names of the list.
    ListBidi,
    /// Sends more names than a page may have.
    ListGiant,
    /// Says of each page that there are more.
    ListEndless,
    /// Sends lists that nobody asked for.
    ListUnasked,
    /// Never sends a list.
    ListWithheld,

    // Requests and answers to them.
    /// Asks everybody to talk, in their own name.
    RequestFromOneself,
    /// Asks whoever is in a chat to talk, in the name of the peer.
    RequestFromPeer,
    /// Asks everybody to talk, in the names of many, and takes nothing back.
    RequestFlood,
    /// Answers a call with a request from the one who is called.
    RequestFromCalled,
    /// Answers a call with a request from somebody else.
    RequestWhileCalling,
    /// Says that calls were refused.
    FakeRefuse,
    /// Says that those who are called are not there.
    FakeNotFound,
    /// Says that calls were accepted, with a package of random bytes.
    FakeAccept,
    /// Says of each call and of each list that it was asked for too often, and so to whoever has asked for nothing.
    TooFast,
    /// Passes no call on.
    DropRequests,
    /// Passes no welcome on.
    DropWelcomes,

    // The line of a chat, and its end.
    /// Says of the other side that it expects a later frame than it does.
    ResumeTooHigh,
    /// Says of the other side that it expects the first frame.
    ResumeTooLow,
    /// Says, many times a second, that the peer is away and that it is back.
    AwayFlapping,
    /// Says that the peer is away, and lets no word about it through.
    AwayForEver,
    /// Says that the chat is over: the peer has left.
    CloseLeft,
    /// Says that the chat is over: called off.
    CloseCalledOff,
    /// Says that the chat is over: it took too long.
    CloseExpired,
    /// Says that the chat is over: busy.
    CloseBusy,
    /// Says that the chat is over: the other client could not go on.
    CloseFailed,
    /// Says that the chat is over: too much was sent.
    CloseOverrun,

    // The connection.
    /// Refuses everybody, or throws them out: unknown user.
    ErrorUnknownUser,
    /// Throws everybody out: replaced.
    ErrorReplaced,
    /// Throws everybody out: removed.
    ErrorRemoved,
    /// Throws everybody out: the server is being stopped.
    ErrorShuttingDown,
    /// Throws everybody out: idle.
    ErrorIdle,
    /// Throws everybody out: a fault of protocol.
    ErrorProtocol,
    /// Throws everybody out: the directory cannot be read.
    ErrorUnavailable,
    /// Calls itself something that is not on its certificate.
    OtherName,
    /// Answers no log-in.
    NoLogIn,
    /// Answers a log-in twice.
    LogInTwice,
    /// Sends other frames before the answer to a log-in.
    EarlyFrames,
    /// Answers no ping.
    NoPong,
    /// Says nothing at all any more, on each user's first connection.
    Silent,
    /// Cuts each user's connection, once.
    Cut,

    // Codes and sizes.
    /// Sends frames of every code about a chat that there is not, before each frame that it passes on.
    EveryCode,
    /// Sends frames of every code about the chat that there is.
    EveryCodeInChat,
    /// Sends each frame that only a client may send.
    WrongDirection,
    /// Sends a code that there is not.
    UnknownCode,
    /// Sends an empty frame.
    EmptyFrame,
    /// Sends a frame of one byte, which should have more.
    OneByteFrame,
    /// Sends sealed frames of the greatest length, of another chat and then of this one.
    LargestFrame,
    /// Says of a frame that it is longer than what is sent, and sends others behind it.
    LengthTooHigh,
    /// Says of a frame that it is shorter than it is.
    LengthTooLow,
}

impl Attack {
    /// All attacks, as `--list` prints them.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name, as it is given on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it does, in a sentence.
    pub fn sentence(self) -> String {
        self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }
}
